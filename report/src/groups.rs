//! Steps gathered by the node that they are instances of.

use super::data::{Kind, State, Step};
use super::words::counted;

/// A node with its steps.
pub struct Group<'a> {
    pub node: &'a str,
    pub kind: Kind,
    /// Where in the report's list the steps stand.
    pub members: Vec<usize>,
}

/// The nodes, in the order in which their first steps stand.
pub fn by_node(steps: &[Step]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match groups.iter_mut().find(|group| group.node == step.node && group.kind == step.kind) {
            Some(group) => group.members.push(index),
            None => groups.push(Group { node: &step.node, kind: step.kind, members: vec![index] }),
        }
    }
    groups
}

/// The part of an id that tells an instance from the others of its node: `2010` of `embed.minilm[2010]`.
pub fn instance(id: &str) -> Option<&str> {
    id.strip_suffix(']')?.split_once('[').map(|(_, instance)| instance)
}

/// `30 years` where all instances are years, else `30 steps`.
pub fn instances(steps: &[Step], members: &[usize]) -> String {
    let is_year = |member: &usize| {
        let name = instance(&steps[*member].id).unwrap_or_default();
        name.len() == 4 && name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let many = members.len() as u64;
    if members.iter().all(is_year) { counted(many, "year", "years") } else { counted(many, "step", "steps") }
}

/// The state that a node of several steps is drawn in: what went wrong outweighs what went well.
pub fn state(steps: &[Step], members: &[usize]) -> State {
    let has = |state: State| members.iter().any(|member| steps[*member].state == state);
    let order = [State::Failed, State::Interrupted, State::Ran, State::NotReached];
    order.into_iter().find(|state| has(*state)).unwrap_or(State::Fresh)
}

/// How many steps are in each state, without those in which none is.
pub fn tally<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<(State, u64)> {
    let mut counts = [State::Ran, State::Fresh, State::Failed, State::Interrupted, State::NotReached].map(|s| (s, 0));
    for step in steps {
        counts.iter_mut().filter(|(state, _)| *state == step.state).for_each(|(_, count)| *count += 1);
    }
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// A state's name, as a class and in words.
pub fn state_words(state: State) -> (&'static str, &'static str) {
    match state {
        State::Ran => ("ran", "ran"),
        State::Fresh => ("fresh", "fresh"),
        State::Failed => ("failed", "failed"),
        State::Interrupted => ("interrupted", "interrupted"),
        State::NotReached => ("not-reached", "not reached"),
    }
}

/// A kind's name, as a class and in words.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Load => "load",
        Kind::Prepare => "prepare",
        Kind::Embed => "embed",
        Kind::Persist => "persist",
        Kind::Merge => "merge",
    }
}

/// When a step began and ended, in seconds since the run began; one that was under way ends with the run.
pub fn span(step: &Step, run_seconds: f64) -> Option<(f64, f64)> {
    let begin = step.begin.filter(|begin| begin.is_finite())?.max(0.0);
    let end = step.end.filter(|end| end.is_finite()).unwrap_or(run_seconds);
    Some((begin, end.max(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, node: &str, state: State) -> Step {
        Step { id: id.to_owned(), node: node.to_owned(), state, ..Step::default() }
    }

    #[test]
    fn steps_of_a_node_are_years_where_they_are_named_so() {
        let steps = [
            step("load.a[2010]", "load.a", State::Ran),
            step("load.b[fr]", "load.b", State::Fresh),
            step("load.a[2011]", "load.a", State::Failed),
        ];
        let groups = by_node(&steps);
        assert_eq!(groups.iter().map(|group| group.members.clone()).collect::<Vec<_>>(), [vec![0, 2], vec![1]]);
        assert_eq!(instances(&steps, &groups[0].members), "2 years");
        assert_eq!(instances(&steps, &groups[1].members), "1 step");
        assert_eq!(state(&steps, &[0, 2]), State::Failed);
        assert_eq!(tally(steps.iter()), [(State::Ran, 1), (State::Fresh, 1), (State::Failed, 1)]);
    }

    #[test]
    fn a_step_under_way_ends_with_the_run() {
        let under_way = Step { begin: Some(2.0), ..Step::default() };
        assert_eq!(span(&under_way, 9.0), Some((2.0, 9.0)));
        assert_eq!(span(&under_way, 1.0), Some((2.0, 2.0)));
        assert_eq!(span(&Step::default(), 9.0), None);
    }
}
