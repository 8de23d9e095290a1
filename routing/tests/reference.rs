//! The tree against a reference that matches each route separately and compares all matches.

mod common;

use std::cmp::Ordering;
use std::fmt::Write;

use common::{get, responded};
use http::{Response, StatusCode};
use sockless_routing::{Router, Selector, respond};

const SEGMENTS: [&str; 14] = [
    "a", "ab", "1", "", "{x}", "{x:u8}", "{x:i16}", "a{x}", "{x}b", "a{x}b", "a{x:u8}", "*", "a",
    "{x}",
];
const LAST: [&str; 7] = ["{x?}", "{x:u8?}", "a{x?}", "{*r}", "a{*r}", "{*}", "{*r}"];
const VALUES: [&str; 8] = ["a", "ab", "b", "1", "a1", "1b", "", "300"];
const QUERIES: [&str; 3] = ["", "q", "q&p"];

#[test]
fn the_tree_and_the_reference_choose_the_same_route() {
    let mut matched = 0;
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let ignore_slash = chance.below(2) == 0;
        let mut router = Router::new().ignore_trailing_slash(ignore_slash);
        let mut routes: Vec<Route> = Vec::new();
        for _ in 0..1 + chance.below(24) {
            let route = Route::by_chance(&mut chance);
            if let Ok(longer) = router.clone().try_route(&route.pattern, route.page(routes.len())) {
                router = longer;
                routes.push(route);
            }
        }
        for _ in 0..60 {
            let path: String = (0..1 + chance.below(4))
                .flat_map(|_| ["/", VALUES[chance.below(VALUES.len())]])
                .collect();
            let query = QUERIES[chance.below(3)];
            let expected = reference(&routes, &path, query, ignore_slash);
            let response = responded(&router, get(&format!("{path}?{query}")));
            let taken = (response.status() == StatusCode::OK)
                .then(|| String::from_utf8(response.body().to_vec()).unwrap());
            assert_eq!(taken, expected, "seed {seed}, {path}?{query} in\n{router}");
            matched += usize::from(taken.is_some());
        }
    }
    assert!(matched > 8000, "{matched} of 24000 is too few to prove much");
}

struct Route {
    pattern: String,
    queries: Vec<&'static str>,
}

impl Route {
    fn by_chance(chance: &mut Chance) -> Self {
        let mut segments: Vec<&str> =
            (0..1 + chance.below(3)).map(|_| SEGMENTS[chance.below(SEGMENTS.len())]).collect();
        if chance.below(3) == 0 {
            segments.push(LAST[chance.below(LAST.len())]);
        }
        let queries = match chance.below(6) {
            0 => vec!["q"],
            1 => vec!["p", "q"],
            _ => vec![],
        };
        Self { pattern: format!("/{}", segments.join("/")), queries }
    }

    /// A page with the route's number and captures.
    fn page(&self, number: usize) -> sockless_routing::RespondRoute {
        let page = respond(move |request| {
            let captured: Vec<_> = request.params().map(|(_, value)| value.to_owned()).collect();
            Response::new(said(number, &captured).into())
        });
        self.queries.iter().fold(page, |page, query| page.when(Selector::query(*query)))
    }

    /// The ways to this route as written: one, or two if its last segment is optional.
    fn ways(&self) -> Vec<Way<'_>> {
        let mut steps: Vec<Step<'_>> = self.pattern[1..].split('/').map(Step::Segment).collect();
        let when = Step::When(&self.queries);
        let optional = self.pattern.ends_with("?}");
        let absent = optional.then(|| steps[..steps.len() - 1].to_vec());
        steps.push(when);
        let whole = Way { steps, absent: false };
        let absent = absent.map(|mut steps| {
            steps.push(when);
            Way { steps, absent: true }
        });
        [Some(whole), absent].into_iter().flatten().collect()
    }
}

fn said(number: usize, captured: &[String]) -> String {
    let mut out = number.to_string();
    captured.iter().for_each(|value| write!(out, " {value:?}").unwrap());
    out
}

struct Way<'r> {
    steps: Vec<Step<'r>>,
    absent: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Step<'r> {
    Segment(&'r str),
    When(&'r [&'static str]),
}

/// The rank of each step of a match, the lowest first, and the steps themselves to compare equal
/// ranks.
struct Match {
    ranks: Vec<(usize, usize, usize)>,
    shapes: Vec<String>,
    route: usize,
    captured: Vec<String>,
}

fn reference(routes: &[Route], path: &str, query: &str, ignore_slash: bool) -> Option<String> {
    let given: Vec<&str> = path[1..].split('/').collect();
    let matches = routes.iter().enumerate().flat_map(|(number, route)| {
        let ways = route.ways();
        ways.iter()
            .filter_map(|way| try_way(way, &given, query, ignore_slash, number))
            .collect::<Vec<_>>()
    });
    let best = matches.min_by(|a, b| compare(routes, a, b))?;
    Some(said(best.route, &best.captured))
}

/// Compares step by step: by rank, and among equal ranks by the first definition of the step.
fn compare(routes: &[Route], a: &Match, b: &Match) -> Ordering {
    for index in 0..a.ranks.len().max(b.ranks.len()) {
        let by_rank = a.ranks[index].cmp(&b.ranks[index]);
        if by_rank != Ordering::Equal {
            return by_rank;
        }
        let shapes = [a, b].map(|m| m.shapes.get(..=index).unwrap_or(&m.shapes));
        if shapes[0] != shapes[1] {
            let first = shapes.map(|shape| {
                let has = |way: &Way<'_>| shapes_of(way).starts_with(shape);
                routes.iter().position(|route| route.ways().iter().any(has)).unwrap()
            });
            return first[0].cmp(&first[1]);
        }
    }
    panic!("two routes are in one place")
}

/// The steps, apart from the names of parameters and without empty selectors.
fn shapes_of(way: &Way<'_>) -> Vec<String> {
    let shape = |step: &Step<'_>| match step {
        Step::When([]) => None,
        Step::When(queries) => Some(format!("when {queries:?}")),
        Step::Segment(text) if text.contains("{*") => Some(text.replace("{*}", "{*r}")),
        Step::Segment(text) => Some(text.replace("?}", "}")),
    };
    way.steps.iter().filter_map(shape).collect()
}

const WHEN: usize = 0;
const LITERAL: usize = 1;
const END: usize = 2;
const SLASH_DIFFERS: usize = 3;
const ABSENT: usize = 4;
const PARAM: usize = 5;
const WILDCARD: usize = 6;
const REST: usize = 7;

fn try_way(
    way: &Way<'_>,
    given: &[&str],
    query: &str,
    ignore_slash: bool,
    route: usize,
) -> Option<Match> {
    let mut rest = given;
    let mut ranks = Vec::new();
    let mut captured = Vec::new();
    let mut before = "no segment yet";
    for (index, step) in way.steps.iter().enumerate() {
        let segment = match step {
            Step::When([]) => continue,
            Step::When(queries) => {
                let has = |name: &&str| query.split('&').any(|given| given == *name);
                queries.iter().all(has).then_some(())?;
                ranks.push((WHEN, 10 - queries.len(), 0));
                continue;
            }
            Step::Segment(segment) => *segment,
        };
        if let Some(prefix) = segment.strip_suffix("{*}").or(segment.strip_suffix("{*r}")) {
            let left = rest.join("/");
            let left = left.strip_prefix(prefix)?;
            if segment.ends_with("{*r}") {
                captured.push(left.to_owned());
            }
            ranks.push((REST, 10 - prefix.len(), 0));
            rest = &[];
            continue;
        }
        let is_last = !way.steps[index + 1..].iter().any(|s| matches!(s, Step::Segment(_)));
        let Some((value, more)) = rest.split_first() else {
            // The slash that the route ends with, and the path does not.
            (segment.is_empty() && is_last && !before.is_empty() && ignore_slash).then_some(())?;
            ranks.push((SLASH_DIFFERS, 0, 0));
            continue;
        };
        ranks.push(rank_of(segment, value, &mut captured)?);
        (before, rest) = (value, more);
    }
    ranks.push(match rest {
        [] if way.absent => (ABSENT, 0, 0),
        [] => (END, 0, 0),
        [""] if way.absent => (ABSENT, 0, 0),
        [""] if ignore_slash && !before.is_empty() && before != "no segment yet" => {
            (SLASH_DIFFERS, 0, 0)
        }
        _ => return None,
    });
    let shapes = shapes_of(way);
    Some(Match { ranks, shapes, route, captured })
}

/// The rank with which `segment` matches `value`, if it does.
fn rank_of(
    segment: &str,
    value: &str,
    captured: &mut Vec<String>,
) -> Option<(usize, usize, usize)> {
    if segment == "*" {
        return (!value.is_empty()).then_some((WILDCARD, 0, 0));
    }
    let Some((prefix, behind)) = segment.split_once('{') else {
        return (segment == value).then_some((LITERAL, 0, 0));
    };
    let (inner, suffix) = behind.split_once('}').unwrap();
    let (_, kind) = inner.trim_end_matches('?').split_once(':').unwrap_or((inner, ""));
    let held = value.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let fits = match kind {
        "u8" => held.parse::<u8>().is_ok(),
        "i16" => held.parse::<i16>().is_ok(),
        _ => !held.is_empty(),
    };
    fits.then(|| captured.push(held.to_owned()))?;
    Some((PARAM, 10 - prefix.len() - suffix.len(), usize::from(kind.is_empty())))
}

/// Repeatable random numbers (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        let mut x = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0 = x;
        (x >> 33) as usize % bound
    }
}
