//! Two runs over one store at the same time: both end well, and save each other's work.

use crate::env::{TestEnv, papers};

/// Rows per year; the delay makes each year's embedding outlast the other run's start.
const ROWS: usize = 1_000;

fn project() -> TestEnv {
    let env = TestEnv::empty();
    for year in [2010, 2011] {
        env.write_year(year, &papers(year, ROWS));
    }
    env
}

/// Every vector is computed by one of them alone, and what is published is what a lone run publishes. With one year
/// both want the same step: with two, they may by chance each take another.
#[test]
fn two_runs_started_together() {
    let project = || {
        let env = project();
        env.edit("[2010, 2011]", "[2010]");
        env
    };
    let env = project();
    let apply = ["apply", "workflow.toml", "--set", "embed.minilm.model=fake://16?delay_us=500"];
    let children = [env.start(&apply), env.start(&apply)];
    let told = children.map(|child| env.wait(child));
    let mut embedded = 0;
    for told in &told {
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        embedded += told.embedded_and_reused().0;
    }
    assert_eq!(embedded, ROWS, "{}\n{}", told[0].err, told[1].err);
    assert_eq!(env.sealed_rows(), ROWS);
    let lone = project();
    lone.applied(&[]);
    assert_eq!(env.keyed(), lone.keyed());
    assert_eq!(env.plan(&["--set", "embed.minilm.model=fake://16"]).code, Some(0));
}

/// Two runs that own different years do not wait for each other, and publish both side by side.
#[test]
fn two_runs_over_different_years() {
    let env = project();
    let of = |year| env.start(&["apply", "workflow.toml", "--years", year]);
    let children = [of("2010"), of("2011")];
    for told in children.map(|child| env.wait(child)) {
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert_eq!(told.embedded_and_reused(), (ROWS, 0));
    }
    let lone = project();
    lone.applied(&[]);
    assert_eq!(env.keyed(), lone.keyed());
}
