//! The tree that finds routes: [`Node`].
//!
//! A route is a way from the root: a step for each segment of its path, and one for the selectors
//! that stand between two of them. Ways with equal beginnings share them; how parameters are named
//! makes no difference.
//!
//! A search goes depth first and takes the better step first, so a better early segment beats any
//! later advantage, and what fails further down does not stand in the way of the next best. As the
//! root is the only way to a node, and leads to it by one division of the path, a search meets no
//! node twice: it ends after at most as many steps as the application's paths have segments in all,
//! however long or crafted the request's path is, and it goes no deeper than the longest of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::path::between;
use crate::pattern::{ParamType, Pattern, Segment};
use crate::selector::{Selector, Selectors, Verdict};

/// A place in the tree. Routes are known by their indices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Those that end here.
    routes: Vec<usize>,
    /// Those whose optional last segment may be missing here.
    absent: Vec<usize>,
    /// The most selectors first.
    conditions: Vec<(Selectors, Self)>,
    literals: BTreeMap<String, Self>,
    /// The best step first.
    steps: Vec<(Step, Self)>,
}

/// A step that is not by a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Param { prefix: String, kind: Option<ParamType>, suffix: String },
    Wildcard,
    Rest { prefix: String },
}

/// What a search asks and tells.
pub(crate) trait Visitor<'t> {
    type Found;

    /// Whether the request passes.
    fn check(&self, selectors: &'t Selectors) -> Verdict<'t>;

    /// Routes that the path leads to, and which are not better than those before.
    fn visit(&mut self, end: End<'t, '_, '_>) -> ControlFlow<Self::Found>;
}

/// Where a path leads.
pub(crate) struct End<'t, 'c, 'p> {
    pub(crate) routes: &'t [usize],
    /// Whether these routes and the path differ by a slash at the end.
    pub(crate) slash_differs: bool,
    /// What the request's query lacks for them.
    pub(crate) lacks: Option<&'t Selector>,
    /// What their parameters hold, in the order of the path.
    pub(crate) captures: &'c [&'p str],
}

/// Where a search is.
#[derive(Clone, Copy)]
struct Position<'t, 'p> {
    /// What follows the next slash; `None` at the path's end.
    rest: Option<&'p str>,
    /// Whether nothing stands before that slash, so that two are side by side.
    after_empty: bool,
    lacks: Option<&'t Selector>,
}

impl Node {
    /// Adds a route: its path, with selectors before some of its segments or at its end. Gives back
    /// the routes that end where it does, itself not among them.
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
        // What stood behind an optional segment stands at the end without it.
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

    /// Shows `visitor` where the path `rest` leads, the best place first, until it has found what it
    /// looks for. `rest` begins behind the path's first slash.
    pub(crate) fn search<'t, V: Visitor<'t>>(
        &'t self,
        rest: &str,
        lacks: Option<&'t Selector>,
        visitor: &mut V,
    ) -> ControlFlow<V::Found> {
        let position = Position { rest: Some(rest), after_empty: false, lacks };
        Search { captures: Vec::new(), visitor }.node(self, position)
    }
}

/// The child behind `step`, which is put behind those of its own rank if it is new.
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
    /// The better, the less: parameters, of which that with more fixed text is the better and then
    /// that with a type, then the wildcard, then the rest.
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
                    self.node(slash, at.behind(""))?;
                }
                if !at.after_empty {
                    self.end(&node.routes, at, true)?;
                }
                // A slash with nothing behind it has no segment either.
                self.end(&node.absent, at, false)?;
            }
            Some(rest) => {
                let segment = rest.split('/').next().unwrap_or_default();
                if let Some(child) = node.literals.get(segment) {
                    self.node(child, at.behind(segment))?;
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
                self.captured(value, |search| search.node(child, at.behind(segment)))
            }
            Step::Wildcard if segment.is_empty() => ControlFlow::Continue(()),
            Step::Wildcard => self.node(child, at.behind(segment)),
            Step::Rest { prefix } => {
                let value = rest.strip_prefix(&**prefix);
                let end = Position { rest: None, ..at };
                self.captured(value, |search| search.stop(child, end, false))
            }
        }
    }

    /// Goes on with `value` captured, if there is one.
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

    /// Looks at the routes of `node` alone, not at what is beneath.
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

    /// Goes behind the selectors of `node` that the request passes, and behind those that it would
    /// pass with another query, to see whether that is worth a word.
    fn conditions(
        &mut self,
        node: &'t Node,
        at: Position<'t, 'p>,
        go: impl Fn(&mut Self, &'t Node, Position<'t, 'p>) -> ControlFlow<V::Found>,
    ) -> ControlFlow<V::Found> {
        for (selectors, child) in &node.conditions {
            let lacks = match self.visitor.check(selectors) {
                Verdict::Fails => continue,
                Verdict::Passes => at.lacks,
                Verdict::Lacks(selector) => at.lacks.or(Some(selector)),
            };
            go(self, child, Position { lacks, ..at })?;
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
        self.visitor.visit(End { routes, slash_differs, lacks: at.lacks, captures })
    }
}

impl Position<'_, '_> {
    /// Behind `segment`, with which the rest begins.
    fn behind(self, segment: &str) -> Self {
        let rest = self.rest.and_then(|rest| rest.get(segment.len() + 1..));
        Self { rest, after_empty: segment.is_empty(), ..self }
    }
}
