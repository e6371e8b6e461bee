// Certificates of latent attention against a search that tries to exceed them.
#include "ullage/bounds/latent.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>

#include "bounds/search.h"
#include "ullage/bounds/projections.h"

namespace ullage::bounds {
namespace {

using made::Projection;
using spectrum::Matrix;

struct Latent {
  Matrix a;  // nope rows, then rope rows
  Projection b_nope, b_rope;
  Side query, key_nope, key_rope;
  spectrum::Rotation rotation;
  int nope = 0;
  LatentHead head() const {
    return {.query = query, .key_nope = key_nope, .key_rope = key_rope, .rotation = rotation};
  }
};

Latent make(int nope, int rope, int query_rank, int kv_rank, int width, double bias,
            double nope_size, std::mt19937_64& random) {
  Latent out;
  out.nope = nope;
  out.a = made::gaussian(nope + rope, query_rank, 1.0, random);
  out.b_nope.rows = made::gaussian(nope, kv_rank, nope_size, random);
  out.b_rope.rows = made::gaussian(rope, width, 1.0, random);
  if (bias > 0.0) out.b_rope.bias = made::gaussian(rope, bias, random);
  out.query = made::side({out.a, {}, false});
  out.key_nope = made::side(out.b_nope);
  out.key_rope = made::side(out.b_rope);
  out.rotation = made::rotation(rope, rope, false);
  return out;
}

// Alternating maximisation over the query latent, the key latent, the block's input and every angle.
double search(const Latent& m, std::mt19937_64& random) {
  const double rq = std::sqrt(m.query.squared_norm);
  const double rkv = std::sqrt(m.key_nope.squared_norm);
  const double rn = std::sqrt(m.key_rope.squared_norm);
  const auto split = static_cast<std::ptrdiff_t>(m.nope);
  double best = 0.0;
  for (int start = 0; start < 3; ++start) {
    std::vector<double> nq =
        made::best_input(made::gaussian(m.a.columns(), 1.0, random), rq, false, 1.0);
    for (int round = 0; round < 40; ++round) {
      const std::vector<double> q = spectrum::multiply(m.a, nq);
      const std::vector<double> q_nope(q.begin(), q.begin() + split);
      const std::vector<double> q_rope(q.begin() + split, q.end());
      const std::vector<double> k_nope = spectrum::multiply(
          m.b_nope.rows,
          made::best_input(spectrum::transposed_multiply(m.b_nope.rows, q_nope), rkv, false, 1.0));
      // The rotary part: input and angles by turns.
      std::vector<double> k_rope = made::project(
          m.b_rope,
          made::best_input(made::gaussian(m.b_rope.rows.columns(), 1.0, random), rn, false, 1.0));
      std::vector<double> angles;
      double turned = 0.0;
      for (int inner = 0; inner < 8; ++inner) {
        turned = made::best_turned(q_rope, k_rope, m.rotation.pairs, &angles);
        std::vector<double> back = angles;
        for (double& angle : back) angle = -angle;
        const std::vector<double> target = made::turn(q_rope, m.rotation.pairs, back);
        k_rope = made::project(
            m.b_rope,
            made::best_input(spectrum::transposed_multiply(m.b_rope.rows, target), rn, false,
                             m.b_rope.bias.empty() ? 0.0 : spectrum::dot(m.b_rope.bias, target)));
      }
      turned = made::best_turned(q_rope, k_rope, m.rotation.pairs, &angles);
      best = std::max(best, spectrum::dot(q_nope, k_nope) + turned);
      std::vector<double> k = k_nope;
      const std::vector<double> k_turned = made::turn(k_rope, m.rotation.pairs, angles);
      k.insert(k.end(), k_turned.begin(), k_turned.end());
      nq = made::best_input(spectrum::transposed_multiply(m.a, k), rq, false, 1.0);
    }
  }
  return best;
}

TEST(Latent, NothingASearchFindsExceedsTheCertificates) {
  EXPECT_TRUE(rc::check([] {
    std::mt19937_64 random(*rc::gen::inRange<std::uint64_t>(0, 1U << 30));
    const Latent m =
        make(*rc::gen::element(1, 4, 8), *rc::gen::element(2, 4), *rc::gen::element(3, 12),
             *rc::gen::element(2, 8), *rc::gen::element(4, 16),
             *rc::gen::element(0.0, 0.0, 1.0, 10.0), *rc::gen::element(0.0, 0.1, 1.0, 5.0), random);
    const Result<LatentCertificates> ours = certify_latent(m.head());
    RC_ASSERT(ours.ok());
    const double found = search(m, random);
    RC_ASSERT(ours->before_cap >= found * (1.0 - 1e-12));
    RC_ASSERT(ours->joint <= ours->sum * (1.0 + 1e-5));
    RC_ASSERT(ours->before_cap == std::min(ours->joint, ours->sum));
    LatentHead unknown{.query = m.query,
                       .key_nope = m.key_nope,
                       .key_rope = m.key_rope,
                       .rotation = m.rotation,
                       .rotation_unknown = true};
    RC_ASSERT(certify_latent(unknown)->before_cap >= found * (1.0 - 1e-12));
  }));
}

TEST(Latent, TheJointFormIsCloseToWhatIsAttained) {
  std::mt19937_64 random(2);
  for (const double size : {0.2, 1.0}) {
    const Latent m = make(8, 2, 12, 10, 16, 0.0, size, random);
    EXPECT_LE(certify_latent(m.head())->joint, 1.10 * search(m, random)) << size;
  }
}

TEST(Latent, AmaxOfKeysAndQueries) {
  std::mt19937_64 random(3);
  const Latent m = make(4, 4, 8, 6, 12, 1.0, 1.0, random);
  const std::vector<Rows> rows = rows_of(m.query, shifted(m.rotation.pairs, 4));
  for (int c = 0; c < 4; ++c) {
    EXPECT_NEAR(rows[static_cast<std::size_t>(c)].norm, std::sqrt(m.query.gram(c, c)), 1e-6);
  }
  for (const auto& [i, j] : m.rotation.pairs) {
    const Matrix& g = m.query.gram;
    const int a = i + 4;
    const int b = j + 4;
    const double top = 0.5 * (g(a, a) + g(b, b)) + std::hypot(0.5 * (g(a, a) - g(b, b)), g(a, b));
    EXPECT_NEAR(rows[static_cast<std::size_t>(a)].norm, std::sqrt(top), 1e-6);
    EXPECT_EQ(rows[static_cast<std::size_t>(a)].norm, rows[static_cast<std::size_t>(b)].norm);
  }
}

TEST(Latent, ACapCutsAndEachRuleHasItsError) {
  std::mt19937_64 random(4);
  const Latent m = make(4, 2, 8, 6, 12, 0.0, 1.0, random);
  EXPECT_LE(certify_latent(m.head(), {.soft_cap = 3.0})->certificate, 3.0);
  Side broken = m.query;
  broken.gram(0, 0) = std::numeric_limits<double>::infinity();
  const LatentHead not_finite{
      .query = broken, .key_nope = m.key_nope, .key_rope = m.key_rope, .rotation = m.rotation};
  EXPECT_EQ(certify_latent(not_finite).error().code, Code::not_finite);
  const LatentHead sizes{
      .query = m.key_nope, .key_nope = m.key_nope, .key_rope = m.key_rope, .rotation = m.rotation};
  EXPECT_EQ(certify_latent(sizes).error().code, Code::value_invalid);
  Side biased = m.query;
  biased.bias.assign(6, 1.0);
  const LatentHead bias{
      .query = biased, .key_nope = m.key_nope, .key_rope = m.key_rope, .rotation = m.rotation};
  EXPECT_EQ(certify_latent(bias).error().code, Code::value_invalid);
}

}  // namespace
}  // namespace ullage::bounds
