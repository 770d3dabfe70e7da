//! Trees of messages, with empty nodes for those that are referred to and not there.

use crate::response::number as write_number;

/// Levels that are climbed to find out whether a link would close a circle; beyond, it is taken to.
const CLIMB_MAX: usize = 100_000;

/// A message, or a place for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// UID and date.
    message: Option<(u32, i64)>,
    parent: Option<usize>,
    children: Vec<usize>,
    /// Taken out of the forest.
    gone: bool,
}

/// Nodes by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forest {
    nodes: Vec<Node>,
    /// Once sorted: the roots in order.
    order: Vec<usize>,
}

impl Forest {
    pub(super) fn add(&mut self, message: Option<(u32, i64)>) -> usize {
        self.nodes.push(Node { message, ..Node::default() });
        self.nodes.len() - 1
    }

    pub(super) fn fill(&mut self, node: usize, message: (u32, i64)) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.message = Some(message);
        }
    }

    pub(super) fn message(&self, node: usize) -> Option<(u32, i64)> {
        self.nodes.get(node).and_then(|node| node.message)
    }

    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        self.nodes.get(node).and_then(|node| node.parent)
    }

    pub(super) fn first_child(&self, node: usize) -> Option<usize> {
        self.children(node).first().copied()
    }

    fn children(&self, node: usize) -> &[usize] {
        self.nodes.get(node).map_or(&[], |node| &node.children)
    }

    /// Puts a root under another node, unless that would close a circle.
    pub(super) fn link(&mut self, parent: usize, child: usize) {
        if self.closes_circle(parent, child) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children.push(child);
        }
    }

    /// Puts a node under another one, wherever it was.
    pub(super) fn move_under(&mut self, parent: usize, child: usize) {
        if self.parent(child) == Some(parent) || self.closes_circle(parent, child) {
            return;
        }
        if let Some(before) = self.parent(child).and_then(|before| self.nodes.get_mut(before)) {
            before.children.retain(|known| *known != child);
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parent = None;
        }
        self.link(parent, child);
    }

    fn closes_circle(&self, parent: usize, child: usize) -> bool {
        if parent == child {
            return true;
        }
        // Nothing is below it yet.
        if self.children(child).is_empty() {
            return false;
        }
        let mut at = parent;
        for _ in 0..CLIMB_MAX {
            match self.parent(at) {
                None => return false,
                Some(above) if above == child => return true,
                Some(above) => at = above,
            }
        }
        true
    }

    /// The children of one root become those of another; the first is gone.
    pub(super) fn move_children(&mut self, from: usize, to: usize) {
        let children = self.nodes.get_mut(from).map(|node| {
            node.gone = true;
            std::mem::take(&mut node.children)
        });
        for child in children.into_iter().flatten() {
            if let Some(node) = self.nodes.get_mut(child) {
                node.parent = Some(to);
            }
            if let Some(node) = self.nodes.get_mut(to) {
                node.children.push(child);
            }
        }
    }

    /// Those without a parent: by date once sorted, later ones behind.
    pub(super) fn roots(&self) -> Vec<usize> {
        let is_root = |index: &usize| self.nodes.get(*index).is_some_and(|node| node.parent.is_none() && !node.gone);
        if self.order.is_empty() {
            (0..self.nodes.len()).filter(is_root).collect()
        } else {
            self.order.iter().copied().filter(is_root).collect()
        }
    }

    /// Parents before their children.
    fn downwards(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut open: Vec<usize> = (0..self.nodes.len()).filter(|node| self.parent(*node).is_none()).collect();
        while let Some(node) = open.pop() {
            order.push(node);
            open.extend_from_slice(self.children(node));
        }
        order
    }

    /// Step 3: empty nodes go; their children take their place, but several do not become roots.
    pub(super) fn prune(&mut self) {
        for node in self.downwards().into_iter().rev() {
            if self.message(node).is_some() {
                continue;
            }
            let children = self.children(node).to_vec();
            let parent = self.parent(node);
            if parent.is_none() && children.len() > 1 {
                continue;
            }
            if let Some(node) = self.nodes.get_mut(node) {
                node.gone = true;
                node.children.clear();
            }
            for child in &children {
                if let Some(child) = self.nodes.get_mut(*child) {
                    child.parent = parent;
                }
            }
            if let Some(above) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
                let at = above.children.iter().position(|known| *known == node).unwrap_or(above.children.len());
                let end = (at + 1).min(above.children.len());
                above.children.splice(at..end, children);
            }
        }
    }

    /// A date to sort by: an empty root has that of its first child.
    fn date(&self, node: usize) -> (i64, u32) {
        let own = self.message(node).or_else(|| self.first_child(node).and_then(|child| self.message(child)));
        own.map_or((0, 0), |(uid, date)| (date, uid))
    }

    /// Step 4.
    pub(super) fn sort_roots(&mut self) {
        for root in self.roots() {
            if self.message(root).is_none() {
                self.sort_children(root);
            }
        }
        self.order.clear();
        let mut roots = self.roots();
        roots.sort_by_key(|root| self.date(*root));
        self.order = roots;
    }

    fn sort_children(&mut self, node: usize) {
        let mut children = self.children(node).to_vec();
        children.sort_by_key(|child| self.date(*child));
        if let Some(node) = self.nodes.get_mut(node) {
            node.children = children;
        }
    }

    /// Step 6: every level by date, lowest first.
    pub(super) fn sort(&mut self) {
        for node in self.downwards().into_iter().rev() {
            self.sort_children(node);
        }
        self.order.clear();
        self.sort_roots();
    }

    /// Writes the threads as the THREAD response has them; `number` gives what a UID is called there.
    pub(crate) fn write(&self, out: &mut Vec<u8>, number: impl Fn(u32) -> u32) {
        enum Step {
            Open(usize),
            Write(usize),
            Close,
        }
        let mut steps: Vec<Step> = self.roots().into_iter().rev().map(Step::Open).collect();
        while let Some(step) = steps.pop() {
            match step {
                Step::Close => out.push(b')'),
                Step::Open(node) => {
                    out.push(b'(');
                    steps.push(Step::Close);
                    steps.push(Step::Write(node));
                }
                Step::Write(node) => {
                    if let Some((uid, _)) = self.message(node) {
                        write_number(out, number(uid).into());
                    }
                    let children = self.children(node);
                    if self.message(node).is_some() && !children.is_empty() {
                        out.push(b' ');
                    }
                    match children {
                        [only] => steps.push(Step::Write(*only)),
                        several => steps.extend(several.iter().rev().map(|child| Step::Open(*child))),
                    }
                }
            }
        }
    }
}
