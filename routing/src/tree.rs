//! The tree that finds the routes of a path: [`Node`].
//!
//! Each route is a branch from the root, with one node for each segment of its path and for the
//! selectors between segments. Routes share the nodes of equal beginnings. The names of parameters
//! make no difference.
//!
//! A search is depth-first and takes the better step first. So a better early segment precedes any
//! later advantage, and if a subtree has no match, the next best one is searched. Each node is
//! reached in one way and by one division of the path, so a search visits no node twice: the number
//! of its steps is limited by the number of segments in the routes' paths, and its depth by the
//! longest of them, however long the request's path is.
//!
//! # Why this is not `matchit`
//!
//! `matchit` 0.9 returns one route for a path. A [`Router`](crate::Router) has to continue with the
//! next best one when that route's type, selectors, method or subprotocol do not accept the
//! request, and to collect the reasons for the response. `matchit` also rejects sets of paths that
//! are documented to work: `/{x}` beside `/{*rest}`, `/a{x}` beside `/{x}b`, `/{id:u64}` beside
//! `/{name}`. Its `{*rest}` does not match an empty rest.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::path::between;
use crate::pattern::{ParamType, Pattern, Segment};
use crate::selector::{Selector, Selectors, Verdict};

/// A node of the tree. Routes are stored as indices into the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The routes that end here.
    routes: Vec<usize>,
    /// The routes that end here if their optional last segment is absent.
    absent: Vec<usize>,
    /// Sorted by the number of selectors, the largest first.
    conditions: Vec<(Selectors, Self)>,
    literals: BTreeMap<String, Self>,
    /// Sorted by [`Step::rank`].
    steps: Vec<(Step, Self)>,
}

/// A step by a segment that is not a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Param { prefix: String, kind: Option<ParamType>, suffix: String },
    Wildcard,
    Rest { prefix: String },
}

/// Receives the results of a search.
pub(crate) trait Visitor<'t> {
    type Found;

    /// Returns whether the request matches `selectors`.
    fn check(&self, selectors: &'t Selectors) -> Verdict<'t>;

    /// Called for each place that the path leads to, the best first; a break ends the search.
    fn visit(&mut self, end: End<'t, '_, '_>) -> ControlFlow<Self::Found>;
}

/// A place that a path leads to.
pub(crate) struct End<'t, 'c, 'p> {
    pub(crate) routes: &'t [usize],
    /// True if these routes and the path differ by a trailing slash.
    pub(crate) slash_differs: bool,
    /// The first selector that the request does not match because of a query parameter.
    pub(crate) missing_query: Option<&'t Selector>,
    /// The values of their parameters, in the order of the path.
    pub(crate) captures: &'c [&'p str],
}

/// The position of a search in the path.
#[derive(Clone, Copy)]
struct Position<'t, 'p> {
    /// The text after the next slash; `None` at the end of the path.
    rest: Option<&'p str>,
    /// True if the segment before that slash is empty, so that two slashes are adjacent.
    after_empty: bool,
    missing_query: Option<&'t Selector>,
}

impl Node {
    /// Adds a route with its path and the selectors between its segments or at its end. Returns the
    /// other routes that end at the same place.
    pub(crate) fn insert(
        &mut self,
        pattern: &Pattern,
        conditions: &[(usize, Selectors)],
        route: usize,
    ) -> Vec<usize> {
        let segments = pattern.segments();
        let end = self.extend(segments, conditions);
        let mut others = end.routes.clone();
        end.routes.push(route);
        if let Some((Segment::Param { optional: true, .. }, stem)) = segments.split_last() {
            let end = self.extend(stem, conditions);
            others.extend_from_slice(&end.absent);
            end.absent.push(route);
        }
        others
    }

    fn extend(&mut self, segments: &[Segment], conditions: &[(usize, Selectors)]) -> &mut Self {
        let mut node = self;
        for (index, segment) in segments.iter().enumerate() {
            let before = conditions.iter().filter(|(at, _)| *at == index);
            node = node.narrow(before).step(segment);
        }
        // Selectors after an absent optional segment apply at the end.
        node.narrow(conditions.iter().filter(|(at, _)| *at >= segments.len()))
    }

    fn narrow<'s>(&mut self, by: impl Iterator<Item = &'s (usize, Selectors)>) -> &mut Self {
        let mut all = Selectors::default();
        by.for_each(|(_, selectors)| all.extend(selectors));
        if all.is_empty() {
            return self;
        }
        child(&mut self.conditions, all, |selectors| Reverse(selectors.len()))
    }

    fn step(&mut self, segment: &Segment) -> &mut Self {
        let step = match segment.clone() {
            Segment::Literal(text) => return self.literals.entry(text).or_default(),
            Segment::Param { prefix, kind, suffix, .. } => Step::Param { prefix, kind, suffix },
            Segment::Wildcard => Step::Wildcard,
            Segment::Rest { prefix, .. } => Step::Rest { prefix },
        };
        child(&mut self.steps, step, Step::rank)
    }

    /// Visits the places that the path `rest` leads to, the best first, until `visitor` breaks.
    /// `rest` is the path without its first slash.
    pub(crate) fn search<'t, V: Visitor<'t>>(
        &'t self,
        rest: &str,
        missing_query: Option<&'t Selector>,
        visitor: &mut V,
    ) -> ControlFlow<V::Found> {
        let position = Position { rest: Some(rest), after_empty: false, missing_query };
        Search { captures: Vec::new(), visitor }.node(self, position)
    }
}

/// Returns the child of `step`. A new one is inserted after those of the same rank.
fn child<S: PartialEq, R: Ord>(
    children: &mut Vec<(S, Node)>,
    step: S,
    rank: impl Fn(&S) -> R,
) -> &mut Node {
    let known = children.iter().position(|(other, _)| *other == step);
    let index = known.unwrap_or_else(|| {
        let own = rank(&step);
        let index = children.partition_point(|(other, _)| rank(other) <= own);
        children.insert(index, (step, Node::default()));
        index
    });
    &mut children[index].1
}

impl Step {
    /// The best step has the lowest rank: parameters, those with a longer prefix and suffix first
    /// and then those with a type; the wildcard; the rest.
    fn rank(&self) -> (u8, Reverse<usize>, bool) {
        match self {
            Self::Param { prefix, kind, suffix } => {
                (0, Reverse(prefix.len() + suffix.len()), kind.is_none())
            }
            Self::Wildcard => (1, Reverse(0), false),
            Self::Rest { prefix } => (2, Reverse(prefix.len()), false),
        }
    }
}

struct Search<'v, 'p, V> {
    captures: Vec<&'p str>,
    visitor: &'v mut V,
}

impl<'t, 'p, V: Visitor<'t>> Search<'_, 'p, V> {
    fn node(&mut self, node: &'t Node, at: Position<'t, 'p>) -> ControlFlow<V::Found> {
        self.conditions(node, at, Self::node)?;
        match at.rest {
            None => {
                self.end(&node.routes, at, false)?;
                if let Some(slash) = node.literals.get("").filter(|_| !at.after_empty) {
                    self.stop(slash, at, true)?;
                }
                self.end(&node.absent, at, false)?;
            }
            Some("") => {
                if let Some(slash) = node.literals.get("") {
                    self.node(slash, at.after(""))?;
                }
                if !at.after_empty {
                    self.end(&node.routes, at, true)?;
                }
                // An optional segment is also absent if it is empty.
                self.end(&node.absent, at, false)?;
            }
            Some(rest) => {
                let segment = rest.split('/').next().unwrap_or_default();
                if let Some(child) = node.literals.get(segment) {
                    self.node(child, at.after(segment))?;
                }
            }
        }
        node.steps.iter().try_for_each(|(step, child)| self.step(step, child, at))
    }

    fn step(
        &mut self,
        step: &Step,
        child: &'t Node,
        at: Position<'t, 'p>,
    ) -> ControlFlow<V::Found> {
        let rest = at.rest.unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        match step {
            Step::Param { prefix, kind, suffix } => {
                let value = between(segment, prefix, suffix);
                let value = value.filter(|value| kind.is_none_or(|kind| (kind.fits)(value)));
                self.captured(value, |search| search.node(child, at.after(segment)))
            }
            Step::Wildcard if segment.is_empty() => ControlFlow::Continue(()),
            Step::Wildcard => self.node(child, at.after(segment)),
            Step::Rest { prefix } => {
                let value = rest.strip_prefix(&**prefix);
                let end = Position { rest: None, ..at };
                self.captured(value, |search| search.stop(child, end, false))
            }
        }
    }

    /// Continues with `value` captured, if it is `Some`.
    fn captured(
        &mut self,
        value: Option<&'p str>,
        go: impl FnOnce(&mut Self) -> ControlFlow<V::Found>,
    ) -> ControlFlow<V::Found> {
        let Some(value) = value else {
            return ControlFlow::Continue(());
        };
        self.captures.push(value);
        go(self)?;
        self.captures.pop();
        ControlFlow::Continue(())
    }

    /// Visits the routes of `node` alone, not of its children.
    fn stop(
        &mut self,
        node: &'t Node,
        at: Position<'t, 'p>,
        slash_differs: bool,
    ) -> ControlFlow<V::Found> {
        self.conditions(node, at, |search, node, at| search.stop(node, at, slash_differs))?;
        self.end(&node.routes, at, slash_differs)?;
        self.end(&node.absent, at, slash_differs)
    }

    /// Continues after the selectors of `node` that the request matches, and after those that it
    /// would match with another query, so that the response can name the missing parameter.
    fn conditions(
        &mut self,
        node: &'t Node,
        at: Position<'t, 'p>,
        go: impl Fn(&mut Self, &'t Node, Position<'t, 'p>) -> ControlFlow<V::Found>,
    ) -> ControlFlow<V::Found> {
        for (selectors, child) in &node.conditions {
            let missing_query = match self.visitor.check(selectors) {
                Verdict::Differs => continue,
                Verdict::Matches => at.missing_query,
                Verdict::MissingQuery(selector) => at.missing_query.or(Some(selector)),
            };
            go(self, child, Position { missing_query, ..at })?;
        }
        ControlFlow::Continue(())
    }

    fn end(
        &mut self,
        routes: &'t [usize],
        at: Position<'t, 'p>,
        slash_differs: bool,
    ) -> ControlFlow<V::Found> {
        if routes.is_empty() {
            return ControlFlow::Continue(());
        }
        let captures = &self.captures;
        self.visitor.visit(End { routes, slash_differs, missing_query: at.missing_query, captures })
    }
}

impl Position<'_, '_> {
    /// Returns the position after `segment`, with which the rest begins.
    fn after(self, segment: &str) -> Self {
        let rest = self.rest.and_then(|rest| rest.get(segment.len() + 1..));
        Self { rest, after_empty: segment.is_empty(), ..self }
    }
}
