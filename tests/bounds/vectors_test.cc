// Every bound against float64 values that another program made (numpy, dense matrices, other searches).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "bounds/made.h"
#include "ullage/bounds/certificates.h"
#include "ullage/bounds/clip.h"
#include "ullage/bounds/expected.h"
#include "ullage/bounds/latent.h"
#include "ullage/bounds/projections.h"
#include "ullage/bounds/published.h"
#include "ullage/bounds/qk_norm.h"

namespace ullage::bounds {
namespace {

using nlohmann::json;
using spectrum::Matrix;

const json& vectors() {
  static const json data = [] {
    std::ifstream file(ULLAGE_TEST_DATA "/bounds/theory_vectors.json");
    return json::parse(file);
  }();
  return data;
}

std::vector<std::string> names_of(const std::string& kind) {
  std::vector<std::string> out;
  for (const json& c : vectors().at("cases")) {
    if (c.at("kind") == kind) out.push_back(c.at("name"));
  }
  return out;
}

const json& case_of(const std::string& name) {
  for (const json& c : vectors().at("cases")) {
    if (c.at("name") == name) return c;
  }
  ADD_FAILURE() << name;
  return vectors();
}

Matrix matrix(const json& rows) {
  Matrix out(static_cast<int>(rows.size()), static_cast<int>(rows.at(0).size()));
  for (int i = 0; i < out.rows(); ++i) {
    for (int j = 0; j < out.columns(); ++j)
      out(i, j) = rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
  }
  return out;
}

// A certificate may be above the value by its proven inflation (1e-6 of the certified norms and the Grams' own
// error), never below it.
constexpr double kProven = 5e-6;

// `size`: what the inflation is relative to, where the value itself is a cancellation.
void expect_certificate(double ours, double value, double proven = kProven, double size = 0.0) {
  EXPECT_GE(ours, value * (1.0 - 1e-9));
  EXPECT_LE(ours, value + proven * std::max(value, size) + 1e-12);
}

// `size` is what a zero is small against.
void expect_between(double ours, double value, double below, double above, double size) {
  EXPECT_GE(ours, value * (1.0 - below));
  EXPECT_LE(ours, value * (1.0 + above) + 2e-7 * size);
}

struct Bilinear {
  explicit Bilinear(const json& c)
      : expect(c.at("expect")),
        query{matrix(c.at("A")), c.at("a"), c.at("norm") == "layernorm"},
        key{matrix(c.at("B")), c.at("b"), c.at("norm") == "layernorm"},
        query_side(made::side(query)),
        key_side(made::side(key)),
        cross(made::cross(query, key)),
        scale(c.at("s")),
        biased(spectrum::norm2(query.bias) > 0.0 || spectrum::norm2(key.bias) > 0.0) {
    model.context = c.at("N");
    model.probability = c.at("P");
    model.causal = c.at("causal");
    if (!c.at("rope").is_null()) {
      const json& r = c.at("rope");
      rotation =
          made::rotation(query_side.gram.rows(), r.at("rotary_dim"), r.at("pairing") == "half");
      std::vector<std::array<int, 2>> pairs = r.at("pairs");
      EXPECT_EQ(rotation.pairs, pairs);
      turned = true;
      balance.d.resize(static_cast<std::size_t>(query_side.gram.rows()));
      const Groups groups = groups_of(query_side.gram.rows(), rotation.pairs);
      for (std::size_t i = 0; i < balance.d.size(); ++i) {
        balance.d[i] = expect.at("D_balance")[static_cast<std::size_t>(groups.of_coordinate[i])];
      }
    }
  }
  Head head() const {
    Head out{.query = query_side, .key = key_side};
    out.cross = &cross;
    if (turned) out.rotation = &rotation;
    out.scale = scale;
    return out;
  }
  Head unturned() const {
    Head out = head();
    out.rotation = nullptr;
    return out;
  }
  double value(const char* name) const { return expect.at(name); }

  json expect;
  made::Projection query, key;
  Side query_side, key_side;
  Matrix cross;
  double scale;
  bool biased;
  bool turned = false;
  spectrum::Rotation rotation;
  spectrum::Scaling balance;
  ExpectedModel model;
};

class BilinearVectors : public testing::TestWithParam<std::string> {};

TEST_P(BilinearVectors, CertificatesWhereNothingTurns) {
  const Bilinear c(case_of(GetParam()));
  const Result<Certificates> ours = certify(c.unturned());
  ASSERT_TRUE(ours.ok()) << ours.error().message();
  expect_certificate(ours->norms.query, c.value("norm_A"));
  expect_certificate(ours->norms.key, c.value("norm_B"));
  expect_certificate(ours->naive.value, c.value("naive"));
  const double size = c.value("naive");
  expect_certificate(ours->interaction.value, c.value("interaction_R_identity"), kProven, size);
  expect_certificate(ours->augmented.value, c.value("augmented_closed_R_identity"), kProven, size);
  EXPECT_GE(ours->augmented.value, c.value("augmented_min_R_identity") * (1.0 - 1e-9));
  EXPECT_LE(ours->augmented.value, 1.06 * c.value("augmented_min_R_identity") + kProven * size);
  EXPECT_LE(ours->before_cap, ours->augmented.value);
  EXPECT_FALSE(ours->rope.has_value());
}

TEST_P(BilinearVectors, CertificatesUnderRope) {
  const Bilinear c(case_of(GetParam()));
  if (!c.turned) return;
  const Result<Certificates> ours = certify(c.head());
  ASSERT_TRUE(ours.ok()) << ours.error().message();
  EXPECT_FALSE(ours->interaction.has_value());
  EXPECT_FALSE(ours->augmented.has_value());
  expect_certificate(ours->naive.value, c.value("naive"));
  EXPECT_GE(ours->rope.value, c.value("rope_sup_both256"));
  EXPECT_LE(ours->rope.value, 1.01 * c.value("scaled_optimum"));
  EXPECT_LE(ours->before_cap, std::min(ours->naive.value, ours->rope.value));
}

TEST_P(BilinearVectors, QueryAmax) {
  const Bilinear c(case_of(GetParam()));
  const std::vector<double> before = c.expect.at("amax_q_channel");
  const std::vector<double> after = c.expect.at("amax_q_rope_channel");
  const double size = c.value("amax_q_head");
  const std::vector<Rows> alone = rows_of(c.query_side, {});
  const std::vector<Rows> paired = rows_of(c.query_side, c.rotation.pairs);
  for (std::size_t i = 0; i < before.size(); ++i) {
    expect_certificate(amax({&alone[i], 1}, c.query_side.squared_norm), before[i], kProven, size);
    expect_certificate(amax({&paired[i], 1}, c.query_side.squared_norm), after[i], kProven, size);
  }
  expect_certificate(amax(alone, c.query_side.squared_norm), c.value("amax_q_head"));
  expect_certificate(amax(paired, c.query_side.squared_norm), c.value("amax_q_rope_head"));
}

// The published bounds, scaled as the vectors are: pi_1 at D_balance under RoPE, the sphere's factor and one
// dimension less under LayerNorm.
TEST_P(BilinearVectors, PublishedTails) {
  const Bilinear c(case_of(GetParam()));
  const double d = c.query_side.width;
  const bool layer_norm = c.query_side.layer_norm;
  PublishedModel model;
  model.width = d;
  model.rank = c.expect.at("rank");
  model.context = c.model.context;
  model.probability = c.model.probability;
  double sigma = c.expect.at("sigma")[0];
  if (c.turned) {
    std::vector<double> inverse = c.balance.d;
    for (double& value : inverse) value = 1.0 / value;
    const Matrix query = spectrum::scaled_symmetric(c.query_side.gram, c.balance.d);
    const Matrix key = spectrum::scaled_symmetric(c.key_side.gram, inverse);
    sigma = std::sqrt(spectrum::symmetric_eigen(query, false).values.back() *
                      spectrum::symmetric_eigen(key, false).values.back());
  }
  if (layer_norm) sigma *= d / (d - 1.0);
  EXPECT_NEAR(rank_gamma(model.rank,
                         std::log(2.0 * static_cast<double>(model.context) / model.probability)) /
                  c.value("gamma"),
              1.0, 1e-9);
  EXPECT_NEAR(rank_aware_alpha(model) / c.value("rank_aware_alpha"), 1.0, 1e-9);
  EXPECT_NEAR(rank_agnostic_alpha(model) / c.value("rank_agnostic_alpha"), 1.0, 1e-9);
  const double aware = c.value("rank_aware_t");
  const double agnostic = c.value("rank_agnostic_t");
  EXPECT_NEAR(rank_aware(model, c.scale, sigma), aware, 1e-9 * aware);
  EXPECT_NEAR(rank_agnostic(model, c.scale, sigma), agnostic, 1e-9 * agnostic);
}

TEST_P(BilinearVectors, ExpectedJoint) {
  const Bilinear c(case_of(GetParam()));
  Result<LogitTails> tails = LogitTails::make(c.head(), c.model, c.turned ? &c.balance : nullptr);
  ASSERT_TRUE(tails.ok()) << tails.error().message();
  const Figure joint = tails->joint();
  ASSERT_TRUE(joint.has_value());
  expect_between(joint.value, c.value("combined_joint_t"), 1e-6, 1e-3, c.value("naive"));
  EXPECT_LE(tails->exceedance(joint.value), c.model.probability * (1.0 + 1e-6));
  EXPECT_GE(tails->exceedance(joint.value), c.model.probability * (1.0 - 1e-2));
  EXPECT_LE(tails->off_diagonal().value, joint.value * (1.0 + 1e-5));
  EXPECT_LE(tails->diagonal().value, joint.value * (1.0 + 1e-5));
}

// The vectors' parts are about the form without biases.
TEST_P(BilinearVectors, ExpectedParts) {
  const Bilinear c(case_of(GetParam()));
  Bilinear plain(case_of(GetParam()));
  plain.query_side.bias.clear();
  plain.key_side.bias.clear();
  const spectrum::Scaling* scaling = c.turned ? &c.balance : nullptr;
  Result<LogitTails> tails = LogitTails::make(plain.head(), c.model, scaling);
  ASSERT_TRUE(tails.ok());
  expect_between(tails->off_diagonal().value, c.value("spectrum_off_t"), 1e-7, 1e-4,
                 c.value("naive"));
  const double share = c.model.probability / (c.biased ? 3.0 : 2.0);
  ExpectedModel shared = c.model;
  shared.probability = share;
  Result<LogitTails> shared_tails = LogitTails::make(plain.head(), shared, scaling);
  ASSERT_TRUE(shared_tails.ok());
  expect_between(shared_tails->off_diagonal().value, c.value("spectrum_off_t_share"), 1e-7, 1e-4,
                 c.value("naive"));
  // One sign each at full P: the larger of both is at most the joint of both signs.
  const double one_sign = std::max(c.value("diag_pos_t"), c.value("diag_neg_t"));
  EXPECT_GE(tails->diagonal().value, one_sign * (1.0 - 1e-7));
  ExpectedModel doubled = c.model;
  doubled.probability = std::min(2.0 * c.model.probability, 0.99);
  Result<LogitTails> doubled_tails = LogitTails::make(plain.head(), doubled, scaling);
  EXPECT_LE(doubled_tails->diagonal().value, one_sign * (1.0 + 1e-4) + 2e-7 * c.value("naive"));
}

std::string name_of(const testing::TestParamInfo<std::string>& info) { return info.param; }

INSTANTIATE_TEST_SUITE_P(theory, BilinearVectors, testing::ValuesIn(names_of("bilinear")), name_of);

class QkNormVectors : public testing::TestWithParam<std::string> {};

TEST_P(QkNormVectors, ClosedFormAndAmax) {
  const json& c = case_of(GetParam());
  const std::vector<double> gq = c.at("g_q"), gk = c.at("g_k"), bq = c.at("beta_q"),
                            bk = c.at("beta_k");
  const int head_dim = c.at("d_h");
  const bool full = c.at("width") == "full";
  const bool layer_norm = c.at("norm") == "layernorm";
  const int heads = full ? c.at("n_q").get<int>() : 1;
  const int kv_heads = full ? c.at("n_kv").get<int>() : 1;
  const QkNormSide query{gq, bq, heads * head_dim, layer_norm};
  const QkNormSide key{gk, bk, kv_heads * head_dim, layer_norm};
  std::vector<std::array<int, 2>> pairs;
  if (!c.at("rope").is_null() && c.at("order") == "before") pairs = c.at("rope").at("pairs");
  const double bound = qk_norm_bound(query, key, pairs, c.at("s"));
  expect_certificate(bound, c.at("expect").at("qknorm_bound"), 1e-12);
  const std::vector<double> amax_q = c.at("expect").at("amax_q_channel");
  EXPECT_THAT(qk_norm_amax(query, pairs), testing::Pointwise(testing::DoubleNear(1e-12), amax_q));

  // The general certificate of the same head is no worse.
  spectrum::Rotation rotation;
  rotation.head_dim = head_dim;
  rotation.pairs = pairs;
  rotation.frequencies.assign(pairs.size(), 1.0);
  const Side query_side = side_of(query);
  const Side key_side = side_of(key);
  Head head{.query = query_side, .key = key_side};
  if (!pairs.empty()) head.rotation = &rotation;
  head.scale = c.at("s");
  head.between = Between::qk_norm;
  CertifyOptions options;
  options.query_qk_norm = &query;
  options.key_qk_norm = &key;
  const Result<Certificates> ours = certify(head, options);
  ASSERT_TRUE(ours.ok());
  EXPECT_EQ(ours->qk_norm.value, bound);
  EXPECT_LE(ours->before_cap, bound);
  EXPECT_LE(amax(rows_of(query_side, pairs), query.width),
            *std::max_element(amax_q.begin(), amax_q.end()) * (1.0 + 1e-9));
}

INSTANTIATE_TEST_SUITE_P(theory, QkNormVectors, testing::ValuesIn(names_of("qknorm")), name_of);

class ClipVectors : public testing::TestWithParam<std::string> {};

TEST_P(ClipVectors, SumProductAndAmax) {
  const json& c = case_of(GetParam());
  const Side query = made::side({matrix(c.at("A")), {}, false});
  const Side key = made::side({matrix(c.at("B")), {}, false});
  spectrum::Rotation rotation;
  rotation.head_dim = c.at("d_h");
  if (!c.at("rope").is_null()) rotation.pairs = c.at("rope").at("pairs");
  rotation.frequencies.assign(rotation.pairs.size(), 1.0);
  for (int i = 2 * static_cast<int>(rotation.pairs.size()); i < rotation.head_dim; ++i) {
    rotation.fixed.push_back(i);
  }
  Head head{.query = query, .key = key};
  if (!rotation.pairs.empty()) head.rotation = &rotation;
  head.between = Between::clip;
  head.clip = c.at("clip");
  head.scale = c.at("s");

  // D_p = sqrt(|B_p|_F/|A_p|_F) over pairs, from the row norms.
  const Groups groups = groups_of(rotation.head_dim, rotation.pairs);
  std::vector<double> a(static_cast<std::size_t>(groups.count)), b(a), d;
  for (int i = 0; i < rotation.head_dim; ++i) {
    const auto g = static_cast<std::size_t>(groups.of_coordinate[static_cast<std::size_t>(i)]);
    a[g] += query.gram(i, i);
    b[g] += key.gram(i, i);
  }
  for (const int g : groups.of_coordinate) {
    d.push_back(std::pow(b[static_cast<std::size_t>(g)] / a[static_cast<std::size_t>(g)], 0.25));
  }
  const json& expect = c.at("expect");
  expect_certificate(clipped_scaled(head, d), expect.at("clip_weighted_balance"));
  expect_certificate(clipped_coordinate_sum(head), expect.at("clip_coordinate_sum"));
  EXPECT_LE(clipped_coordinate_sum(head), expect.at("clip_only").get<double>() * (1.0 + 1e-12));
  EXPECT_LE(clipped_bound(head), expect.at("clip_bound").get<double>() * (1.0 + kProven));
  const Result<Certificates> ours = certify(head);
  ASSERT_TRUE(ours.ok());
  EXPECT_FALSE(ours->interaction.has_value());
  EXPECT_FALSE(ours->rope.has_value());
  EXPECT_LE(ours->before_cap, ours->clip.value);
  const std::vector<double> channels = expect.at("amax_q_channel");
  expect_certificate(clipped_amax(head, query),
                     *std::max_element(channels.begin(), channels.end()));
}

INSTANTIATE_TEST_SUITE_P(theory, ClipVectors, testing::ValuesIn(names_of("clip")), name_of);

class LatentVectors : public testing::TestWithParam<std::string> {};

TEST_P(LatentVectors, SumAndJoint) {
  const json& c = case_of(GetParam());
  const Matrix a_nope = matrix(c.at("A_nope"));
  const Matrix a_rope = matrix(c.at("A_rope"));
  Matrix a(a_nope.rows() + a_rope.rows(), a_nope.columns());
  for (int i = 0; i < a.rows(); ++i) {
    for (int j = 0; j < a.columns(); ++j) {
      a(i, j) = i < a_nope.rows() ? a_nope(i, j) : a_rope(i - a_nope.rows(), j);
    }
  }
  const Side query = made::side({a, {}, false});
  const Side key_nope = made::side({matrix(c.at("B_nope")), {}, false});
  const Side key_rope = made::side({matrix(c.at("B_rope")), {}, false});
  spectrum::Rotation rotation;
  rotation.head_dim = a_rope.rows();
  rotation.pairs = c.at("rope").at("pairs");
  rotation.frequencies.assign(rotation.pairs.size(), 1.0);
  const LatentHead head{.query = query,
                        .key_nope = key_nope,
                        .key_rope = key_rope,
                        .rotation = rotation,
                        .scale = c.at("s")};
  spectrum::Scaling balance;
  std::vector<double> ga(rotation.pairs.size()), gb(ga);
  balance.d.resize(static_cast<std::size_t>(rotation.head_dim));
  for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
    for (const int i : rotation.pairs[p]) {
      ga[p] += query.gram(a_nope.rows() + i, a_nope.rows() + i);
      gb[p] += key_rope.gram(i, i);
    }
    for (const int i : rotation.pairs[p]) {
      balance.d[static_cast<std::size_t>(i)] = std::pow(gb[p] / ga[p], 0.25);
    }
  }
  const Result<LatentCertificates> ours = certify_latent(head, {.scaling = &balance});
  ASSERT_TRUE(ours.ok()) << ours.error().message();
  expect_certificate(ours->sum, c.at("expect").at("mla_sum"));
  expect_certificate(ours->joint, c.at("expect").at("mla_joint"));
  EXPECT_EQ(ours->by, "latent_joint");
  const Result<LatentCertificates> best = certify_latent(head);
  ASSERT_TRUE(best.ok());
  EXPECT_LE(best->joint, ours->joint * (1.0 + 1e-6));
}

INSTANTIATE_TEST_SUITE_P(theory, LatentVectors, testing::ValuesIn(names_of("mla")), name_of);

TEST(TheoryVectors, AllCasesAreRun) {
  EXPECT_EQ(names_of("bilinear").size(), 28U);
  EXPECT_EQ(names_of("qknorm").size(), 6U);
  EXPECT_EQ(names_of("clip").size(), 2U);
  EXPECT_EQ(names_of("mla").size(), 2U);
}

}  // namespace
}  // namespace ullage::bounds
