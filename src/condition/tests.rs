//! Conditions as people write them, mistakes at their place, and random ones against a naive evaluator.

use proptest::prelude::*;

use super::tree::{Fields, Literal, Node, Operator, Test};
use super::{Condition, MAX_DEPTH, Value, print};

fn read(text: &str) -> Condition {
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error} at {:?}", error.span()))
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

fn list<const N: usize>(values: [Value<'static>; N]) -> Value<'static> {
    Value::List(values.into())
}

/// Whether a condition on one field holds for this value.
fn holds(condition: &str, value: &Value<'_>) -> bool {
    read(condition).holds(std::slice::from_ref(value))
}

#[test]
fn prints_in_one_form() {
    for (written, printed) in [
        ("doctype IN ('article',\"eprint\") AND year>=2010", "doctype in ('article', 'eprint') and year >= 2010"),
        ("(a = 1 and (b = 2 and c = 3))", "a = 1 and b = 2 and c = 3"),
        ("a = 1 or b = 2 and c = 3", "a = 1 or b = 2 and c = 3"),
        ("(a = 1 or b = 2) and c = 3", "(a = 1 or b = 2) and c = 3"),
        ("not(a=1 or b=2)", "not (a = 1 or b = 2)"),
        ("not not (a = true)", "not not a = true"),
        ("a\tis  Not\nNull", "a is not null"),
        ("author.0 starts with \"O'Neil\"", "author.0 starts with 'O''Neil'"),
        ("`in` = 'it''s' and `odd name`.`x.y` != -1.5e+3", "`in` = 'it''s' and `odd name`.`x.y` != -1.5e+3"),
        ("`plain`.in not in (1, false)", "plain.`in` not in (1, false)"),
        ("`a``b` contains ''", "`a``b` contains ''"),
        ("größe < 5", "größe < 5"),
    ] {
        let condition = read(written);
        assert_eq!(condition.to_string(), printed);
        assert_eq!(read(printed), condition);
    }
}

#[test]
fn asks_for_each_field_once() {
    let condition = read("year > 1 and (pub.name = 'x' or `year` < 3) and author.0 is null and `pub.name` = 'y'");
    assert_eq!(condition.fields(), ["year", "pub.name", "author.0", "`pub.name`"]);
    assert_eq!(condition.paths()[1..], [vec!["pub", "name"], vec!["author", "0"], vec!["pub.name"]]);
    assert!(condition.holds(&[Value::Number("2"), Value::Missing, Value::Null, text("y")]));
    assert!(!condition.holds(&[Value::Number("2"), Value::Missing]), "values that are not given are missing");
}

#[test]
fn a_value_is_read_as_what_it_is_compared_with() {
    assert!(holds("year = 2010", &text("2010")) && holds("year >= 2010", &text("2010.0")));
    assert!(
        !holds("year < 10", &text("9a")) && !holds("year >= 0", &text("n.d.")) && holds("year != 0", &text("n.d."))
    );
    assert!(holds("id = '12'", &Value::Number("12")) && !holds("id = '12'", &Value::Number("12.0")));
    assert!(
        holds("x = true", &Value::Bool(true)) && holds("x = true", &text("true")) && !holds("x = true", &text("1"))
    );
    assert!(holds("x = 'false'", &Value::Bool(false)) && holds("x != 1", &Value::Bool(true)));
    assert!(holds("x < 'b'", &text("azz")) && !holds("x < 'b'", &text("b")) && holds("x <= 'b'", &text("b")));
    assert!(holds("id > 9007199254740992", &Value::Number("9007199254740993")));
    assert!(!holds("x = 1", &Value::Object) && holds("x != 1", &Value::Object) && !holds("x is null", &Value::Object));
}

#[test]
fn what_is_not_there_compares_with_nothing() {
    for nothing in [Value::Missing, Value::Null] {
        for condition in ["x = 1", "x != 1", "x < 1", "x in (1)", "x not in (1)", "x contains ''", "x is not null"] {
            assert!(!holds(condition, &nothing), "{condition}");
        }
        assert!(holds("not (x = 1)", &nothing) && holds("x is null", &nothing));
    }
}

#[test]
fn one_element_of_a_list_is_enough() {
    let property = list([text("ARTICLE"), Value::Null, text("REFEREED")]);
    assert!(holds("x = 'REFEREED'", &property) && !holds("x != 'REFEREED'", &property) && holds("x != 'X'", &property));
    assert!(holds("x in ('X', 'ARTICLE')", &property) && !holds("x not in ('X', 'ARTICLE')", &property));
    assert!(holds("x contains 'FER'", &property) && !holds("x contains 'fer'", &property));
    assert!(holds("x starts with 'REF'", &property) && !holds("x starts with 'EF'", &property));
    let empty = list([]);
    assert!(!holds("x = 1", &empty) && holds("x != 1", &empty) && !holds("x is null", &empty));
    assert!(holds("x > 3", &list([list([text("4")]), Value::Number("1")])));
}

/// Each mistake: the condition, what its span covers, the mistake and the remedy.
#[test]
fn mistakes_are_at_their_place() {
    let told: Vec<String> = MISTAKES.iter().map(|text| told(text)).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    : `` no condition; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
      : `  ` no condition; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    year: `year` compared with nothing; write such as `year = true`, `year >= 2010` or `year is not null`
    year and x = 1: `year` compared with nothing; write such as `year = true`, `year >= 2010` or `year is not null`
    year >=: `>=` a value belongs after this; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    year >= 2010 and: `and` a field belongs after this; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    year >= 2010 x: `x` `and`, `or` or the end belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    year >= 2010): `)` closes nothing; leave it out, or write `(` before
    (year >= 2010: `(` never closed; write `)` where it ends
    (year >= 2010 x: `x` `and`, `or` or `)` belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    doctype = article: `article` a name, and no value; a text stands in quotes: 'article'
    doctype == 'article': `==` not of this language; write `=`
    year <> 2010: `<>` not of this language; write `!=`
    year > 1 && x = 1: `&&` not of this language; write `and`
    !(year > 1): `!` not of this language; write `not`
    title like 'x%': `like` not of this language; write `contains` or `starts with`
    title not contains 'x': `not` no `not` here; put `not` before the field: `not title contains 'erratum'`
    title contains 5: `5` not a text; write it in quotes: 'text'
    title starts 'x': `'x'` `with` belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    'article' = doctype: `'article'` a value, and no field; the field comes first: `year >= 2010`; quotes are for texts, and a field of this name is `article`
    2010 <= year: `2010` a value, and no field; the field comes first: `year >= 2010`
    in = 1: `in` a word of the language, and no field; a field of this name stands in backquotes: `in`
    and: `and` a field belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    year = null: `null` nothing compares with null; write `is null` or `is not null`
    year is 5: `5` `null` or `not null` belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    x > true: `true` `true` and `false` have no order; write `=` or `!=`
    doctype in 'article': `'article'` `(` and the values belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    doctype in (): `)` a text in quotes, a number, `true` or `false` belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    doctype in ('a' 'b'): `'b'` `,` or `)` belongs here; a condition is such as `doctype in ('article', 'eprint') and year >= 2010`
    doctype = 'article: `'` never closed; write ' at the end, or '' where ' belongs to what is quoted
    `doctype = 'article': ``` never closed; write ` at the end, or `` where ` belongs to what is quoted
    year = 2010abc: `2010abc` not a number; numbers are such as 12, -1.5 or 1e-3; a text stands in quotes
    pub. = 1: `.` the path ends with a dot; write the name or number that follows, or leave the dot out
    año = {year}: `{` no part of a condition; a condition takes no axes; a text with braces stands in quotes
    title = “x”: `“` no part of a condition; write straight quotes: 'text'
    "#);
}

const MISTAKES: [&str; 35] = [
    "",
    "  ",
    "year",
    "year and x = 1",
    "year >=",
    "year >= 2010 and",
    "year >= 2010 x",
    "year >= 2010)",
    "(year >= 2010",
    "(year >= 2010 x",
    "doctype = article",
    "doctype == 'article'",
    "year <> 2010",
    "year > 1 && x = 1",
    "!(year > 1)",
    "title like 'x%'",
    "title not contains 'x'",
    "title contains 5",
    "title starts 'x'",
    "'article' = doctype",
    "2010 <= year",
    "in = 1",
    "and",
    "year = null",
    "year is 5",
    "x > true",
    "doctype in 'article'",
    "doctype in ()",
    "doctype in ('a' 'b')",
    "doctype = 'article",
    "`doctype = 'article'",
    "year = 2010abc",
    "pub. = 1",
    "año = {year}",
    "title = “x”",
];

fn told(text: &str) -> String {
    let error = Condition::parse(text).unwrap_err();
    format!("{text}: `{}` {error}; {}", &text[error.span()], error.remedy())
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels| format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels));
    read(&nested(MAX_DEPTH));
    let error = Condition::parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!((error.span(), error.to_string().as_str()), (64..65, "more than 64 levels deep"));
    assert!(Condition::parse(&format!("{}a = 1", "not ".repeat(100_000))).is_err());
    // Many conditions side by side are no nesting.
    let long = vec!["a = 1"; 10_000];
    read(&long.join(" or "));
    read(&long.join(" and "));
}

fn literals() -> impl Strategy<Value = Literal> {
    prop_oneof![
        "[ab'\"]{0,2}".prop_map(Literal::Text),
        (-3i64..=3).prop_map(|number| Literal::Number(number.to_string())),
        (-6i32..=6).prop_map(|halves| Literal::Number(format!("{:?}", f64::from(halves) / 2.0))),
        any::<bool>().prop_map(Literal::Boolean),
    ]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof!["[a-c]", "[0-9]", "[`. é²]{0,3}", Just("Not".to_owned()), Just("in".to_owned())];
    prop::collection::vec(name, 1..3)
}

fn asked() -> impl Strategy<Value = Test> {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let operators = prop::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]);
    let comparison = (operators, literals()).prop_map(|(operator, literal)| match (operator, literal) {
        (Equal | NotEqual, literal) => Test::Compare(operator, literal),
        (_, Literal::Boolean(_)) => Test::Compare(Equal, Literal::Boolean(true)),
        (_, literal) => Test::Compare(operator, literal),
    });
    prop_oneof![
        4 => comparison,
        1 => prop::collection::vec(literals(), 1..4).prop_map(Test::In),
        1 => prop::collection::vec(literals(), 1..4).prop_map(Test::NotIn),
        1 => Just(Test::Null),
        1 => Just(Test::NotNull),
        1 => "[ab']{0,2}".prop_map(Test::Contains),
        1 => "[ab']{0,2}".prop_map(Test::StartsWith),
    ]
}

/// A tree whose tests still hold their fields' names.
#[derive(Clone, Debug)]
enum Sketch {
    Any(Vec<Sketch>),
    All(Vec<Sketch>),
    Not(Box<Sketch>),
    Test(Vec<String>, Test),
}

fn sketches() -> impl Strategy<Value = Sketch> {
    let leaf = (names(), asked()).prop_map(|(names, test)| Sketch::Test(names, test));
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Sketch::Any),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Sketch::All),
            inner.prop_map(|inner| Sketch::Not(Box::new(inner))),
        ]
    })
}

fn drawn(sketch: &Sketch, fields: &mut Fields) -> Node {
    match sketch {
        Sketch::Any(sketches) => Node::any(sketches.iter().map(|sketch| drawn(sketch, fields)).collect()),
        Sketch::All(sketches) => Node::all(sketches.iter().map(|sketch| drawn(sketch, fields)).collect()),
        Sketch::Not(sketch) => Node::Not(Box::new(drawn(sketch, fields))),
        Sketch::Test(names, test) => Node::Test(fields.place(names.clone()), test.clone()),
    }
}

fn condition(sketch: &Sketch) -> Condition {
    let mut fields = Fields::default();
    let root = drawn(sketch, &mut fields);
    let written = fields.0.iter().map(|path| print::path(path)).collect();
    Condition { root, paths: fields.0, fields: written }
}

fn values() -> impl Strategy<Value = Value<'static>> {
    const NUMBERS: [&str; 8] = ["-2", "-1.0", "0", "-0", "1", "1.5", "2e0", "3"];
    let text =
        prop_oneof!["[ab']{0,2}", prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned), Just("true".into())];
    let leaf = prop_oneof![
        1 => Just(Value::Missing),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => prop::sample::select(&NUMBERS[..]).prop_map(Value::Number),
        4 => text.prop_map(|text| Value::Text(text.into())),
        1 => Just(Value::Object),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::List))
}

/// As the table in `mod.rs` says it, without any thought of speed: a value is the list of its scalars, each by its JSON
/// text; numbers are small enough for `f64`.
fn naive(sketch: &Sketch, value_of: &dyn Fn(&[String]) -> Value<'static>) -> bool {
    match sketch {
        Sketch::Any(sketches) => sketches.iter().filter(|sketch| naive(sketch, value_of)).count() > 0,
        Sketch::All(sketches) => sketches.iter().filter(|sketch| !naive(sketch, value_of)).count() == 0,
        Sketch::Not(sketch) => !naive(sketch, value_of),
        Sketch::Test(names, test) => naive_test(test, &value_of(names)),
    }
}

fn naive_test(test: &Test, value: &Value<'_>) -> bool {
    let there = !matches!(value, Value::Missing | Value::Null);
    let scalars = scalars(value);
    let some = |passes: &dyn Fn(&str, bool) -> bool| scalars.iter().any(|(text, is_bool)| passes(text, *is_bool));
    let equal = |literal: &Literal| some(&|text, is_bool| naive_compare(text, is_bool, literal) == Some(0));
    match test {
        Test::Null => !there,
        Test::NotNull => there,
        Test::Contains(part) => some(&|text, _| text.matches(part.as_str()).next().is_some()),
        Test::StartsWith(part) => some(&|text, _| text.get(..part.len()) == Some(part)),
        Test::In(literals) => literals.iter().any(equal),
        Test::NotIn(literals) => there && !literals.iter().any(equal),
        Test::Compare(operator, literal) => {
            let compared = |wanted: &[i8]| {
                some(&|text, is_bool| {
                    naive_compare(text, is_bool, literal).is_some_and(|found| wanted.contains(&found))
                })
            };
            match operator {
                Operator::Equal => equal(literal),
                Operator::NotEqual => there && !equal(literal),
                Operator::Less => compared(&[-1]),
                Operator::LessOrEqual => compared(&[-1, 0]),
                Operator::Greater => compared(&[1]),
                Operator::GreaterOrEqual => compared(&[0, 1]),
            }
        }
    }
}

/// The JSON texts of a value's scalars, and whether each is a boolean.
fn scalars(value: &Value<'_>) -> Vec<(String, bool)> {
    match value {
        Value::Missing | Value::Null | Value::Object => Vec::new(),
        Value::Bool(value) => vec![(value.to_string(), true)],
        Value::Number(number) => vec![((*number).to_owned(), false)],
        Value::Text(text) => vec![(text.to_string(), false)],
        Value::List(values) => values.iter().flat_map(scalars).collect(),
    }
}

fn naive_compare(text: &str, is_bool: bool, literal: &Literal) -> Option<i8> {
    match literal {
        Literal::Text(wanted) => Some(text.as_bytes().cmp(wanted.as_bytes()) as i8),
        Literal::Number(_) if is_bool => None,
        Literal::Number(wanted) => {
            Some(text.parse::<f64>().ok()?.partial_cmp(&wanted.parse::<f64>().unwrap()).unwrap() as i8)
        }
        Literal::Boolean(wanted) => (["true", "false"].contains(&text)).then(|| i8::from(text != wanted.to_string())),
    }
}

proptest! {
    /// Whatever the text, it is a condition or a mistake within it.
    #[test]
    fn any_text_reads_or_says_why(text in ".{0,40}") {
        if let Err(error) = Condition::parse(&text) {
            prop_assert!(text.get(error.span()).is_some(), "{:?}", error.span());
            prop_assert!(text.is_empty() || !error.span().is_empty());
            prop_assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
        }
    }

    /// The same of texts that are nearly conditions.
    #[test]
    fn any_words_read_or_say_why(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12)) {
        let text = words.join(" ");
        match Condition::parse(&text) {
            Ok(condition) => prop_assert_eq!(Condition::parse(&condition.to_string()), Ok(condition)),
            Err(error) => prop_assert!(text.is_empty() || !text[error.span()].is_empty()),
        }
    }

    /// A condition that is printed and read again is the same one.
    #[test]
    fn printed_conditions_read_back(sketch in sketches()) {
        let condition = condition(&sketch);
        prop_assert_eq!(Condition::parse(&condition.to_string()), Ok(condition));
    }
}

proptest! {
    // Two values must meet in one test, and it must decide: that is rare.
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// It holds where the naive evaluator says so.
    #[test]
    fn conditions_hold_as_a_naive_evaluator_says(sketch in sketches(), pool in prop::collection::vec(values(), 8)) {
        let condition = condition(&sketch);
        // A field's value is any of the pool, but always the same one.
        let value_of = |names: &[String]| pool[names.concat().len() % pool.len()].clone();
        let values: Vec<Value<'_>> = condition.paths().iter().map(|path| value_of(path)).collect();
        prop_assert_eq!(condition.holds(&values), naive(&sketch, &value_of), "{} of {:?}", condition, values);
    }
}

const WORDS: [&str; 22] = [
    "a", "a.0", "`b`", "=", "!=", "<", "in", "not", "and", "or", "(", ")", ",", "'x'", "1", "-2.5", "true", "is",
    "null", "contains", "starts", "with",
];
