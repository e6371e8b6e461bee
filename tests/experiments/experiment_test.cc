// The frame of the experiments, and those that are exact or have published ratios.
#include "ullage/experiments/experiment.h"

#include <gmock/gmock.h>

#include <set>

namespace ullage::experiments {
namespace {

TEST(Experiments, HaveUniqueNames) {
  std::set<std::string> names;
  for (const Experiment& experiment : experiments()) {
    EXPECT_TRUE(names.insert(experiment.name).second) << experiment.name;
    EXPECT_EQ(find_experiment(experiment.name), &experiment);
  }
  EXPECT_EQ(find_experiment("nothing"), nullptr);
}

TEST(Compared, VerdictFollowsTheTolerance) {
  EXPECT_EQ(compared("x", 8.2, 8.24, 0.05).verdict, Verdict::reproduced);
  EXPECT_EQ(compared("x", 8.2, 8.26, 0.05).verdict, Verdict::not_reproduced);
  EXPECT_THAT(compared("x", 1, 2, 0.1).why, testing::HasSubstr("tolerance"));
}

TEST(RankAware, MeetsThePublishedRatios) {
  const Experiment* experiment = find_experiment("rank-aware");
  ASSERT_NE(experiment, nullptr);
  const Result<Outcome> outcome = run(*experiment, {});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->rows.size(), 6u);
  for (const Row& row : outcome->rows) EXPECT_EQ(row.verdict, Verdict::reproduced) << row.quantity;
}

TEST(RoundingVector, IsBitExact) {
  const Result<Outcome> outcome = run(*find_experiment("rounding-vector"), {});
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome->rows.size(), 2u);
  for (const Row& row : outcome->rows) {
    ASSERT_TRUE(row.published.has_value());
    EXPECT_EQ(row.ours, *row.published) << row.quantity;
    EXPECT_EQ(row.verdict, Verdict::reproduced);
  }
}

TEST(Page, ShowsEveryRow) {
  const Experiment* experiment = find_experiment("rank-aware");
  const Result<Outcome> outcome = run(*experiment, {});
  ASSERT_TRUE(outcome.ok());
  const Result<std::string> html = report::to_html(to_page(*experiment, {}, *outcome));
  ASSERT_TRUE(html.ok()) << html.error().message();
  for (const Row& row : outcome->rows) EXPECT_THAT(*html, testing::HasSubstr(row.quantity));
}

}  // namespace
}  // namespace ullage::experiments
