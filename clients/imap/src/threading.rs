//! THREAD (RFC 5256 §4): messages gathered into trees, by subject or by what they refer to.
//!
//! Nothing here recurses: a thread may be as deep as a folder is long.

mod forest;

use std::collections::HashMap;

use crate::subject::Base;
pub(crate) use forest::Forest;

/// How messages are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// References of one message that count: the last ones.
pub(crate) const REFERENCES_MAX: usize = 200;

/// Message-IDs by number, so that a folder's references fit into little memory.
#[derive(Debug, Default)]
pub(crate) struct MessageIds(HashMap<Box<[u8]>, u32>);

impl MessageIds {
    fn number(&mut self, id: &[u8]) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(id.into()).or_insert(next)
    }

    /// All message ids in a field, in order: whatever stands between `<` and `>`.
    pub(crate) fn numbers(&mut self, field: &[u8]) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut rest = field;
        while let Some(start) = memchr::memchr(b'<', rest) {
            rest = rest.get(start + 1..).unwrap_or_default();
            let Some(end) = memchr::memchr2(b'>', b'<', rest) else { break };
            let (id, after) = rest.split_at(end);
            rest = after;
            // RFC 5256 §2.2: quotes that need not be there make no difference.
            let plain: Vec<u8> =
                id.iter().copied().filter(|byte| !matches!(byte, b'"' | b'\\') && !byte.is_ascii_whitespace()).collect();
            if !plain.is_empty() && after.starts_with(b">") {
                numbers.push(self.number(&plain));
            }
        }
        let surplus = numbers.len().saturating_sub(REFERENCES_MAX);
        numbers.drain(..surplus);
        numbers
    }
}

/// What threading needs to know of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threaded {
    pub(crate) uid: u32,
    /// Sent: Unix seconds.
    pub(crate) date: i64,
    pub(crate) subject: Base,
    /// Its Message-ID.
    pub(crate) id: Option<u32>,
    /// What it refers to, oldest first.
    pub(crate) references: Vec<u32>,
}

/// Gathers messages, which come in the folder's order.
pub(crate) fn thread(messages: &[Threaded], algorithm: Algorithm) -> Forest {
    match algorithm {
        Algorithm::OrderedSubject => ordered_subject(messages),
        Algorithm::References => references(messages),
    }
}

/// RFC 5256 §3: by subject, then date; the first is the parent of all others.
fn ordered_subject(messages: &[Threaded]) -> Forest {
    let mut order: Vec<&Threaded> = messages.iter().collect();
    order.sort_by(|a, b| (&a.subject.text, a.date, a.uid).cmp(&(&b.subject.text, b.date, b.uid)));
    let mut forest = Forest::default();
    for group in order.chunk_by(|a, b| a.subject.text == b.subject.text) {
        let mut root = None;
        for message in group {
            let node = forest.add(Some((message.uid, message.date)));
            match root {
                None => root = Some(node),
                Some(root) => forest.link(root, node),
            }
        }
    }
    forest.sort();
    forest
}

/// RFC 5256 §3, REFERENCES: steps 1 to 6.
fn references(messages: &[Threaded]) -> Forest {
    let mut forest = Forest::default();
    let mut nodes: HashMap<u32, usize> = HashMap::new();
    let mut subjects: HashMap<usize, &Base> = HashMap::new();
    for message in messages {
        let found = message.id.map(|id| *nodes.entry(id).or_insert_with(|| forest.add(None)));
        // Two messages of one name: the second stands alone.
        let node = match found {
            Some(node) if forest.message(node).is_none() => node,
            _ => forest.add(None),
        };
        forest.fill(node, (message.uid, message.date));
        subjects.insert(node, &message.subject);
        let mut before = None;
        for reference in &message.references {
            let next = *nodes.entry(*reference).or_insert_with(|| forest.add(None));
            if let Some(before) = before
                && forest.parent(next).is_none()
            {
                forest.link(before, next);
            }
            before = Some(next);
        }
        if let Some(parent) = before {
            // What a message says of itself counts more than what others guessed.
            forest.move_under(parent, node);
        }
    }
    forest.prune();
    gather_by_subject(&mut forest, &subjects);
    forest.sort();
    forest
}

/// Step 5: threads without a common ancestor and with the same subject become one.
fn gather_by_subject(forest: &mut Forest, subjects: &HashMap<usize, &Base>) {
    let nothing = Base::default();
    forest.sort_roots();
    let subject = |forest: &Forest, root: usize| {
        let speaker = if forest.message(root).is_some() { Some(root) } else { forest.first_child(root) };
        speaker.and_then(|node| subjects.get(&node).copied()).unwrap_or(&nothing).clone()
    };
    let mut table: HashMap<String, usize> = HashMap::new();
    for root in forest.roots() {
        let base = subject(forest, root);
        if base.text.is_empty() {
            continue;
        }
        let Some(&known) = table.get(&base.text) else {
            table.insert(base.text, root);
            continue;
        };
        let better = forest.message(known).is_some() && forest.message(root).is_none()
            || forest.message(known).is_some() && subject(forest, known).reply && !base.reply;
        if better {
            table.insert(base.text, root);
        }
    }
    for root in forest.roots() {
        let base = subject(forest, root);
        let Some(&known) = table.get(&base.text).filter(|known| **known != root) else { continue };
        let empty = |forest: &Forest, node: usize| forest.message(node).is_none();
        if empty(forest, known) && empty(forest, root) {
            forest.move_children(root, known);
        } else if empty(forest, known) || base.reply && !subject(forest, known).reply {
            forest.link(known, root);
        } else {
            let both = forest.add(None);
            forest.link(both, known);
            forest.link(both, root);
            table.insert(base.text, both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::base;

    fn threads(messages: &[(u32, i64, &str, &str, &str)], algorithm: Algorithm) -> String {
        let mut ids = MessageIds::default();
        let messages: Vec<_> = messages
            .iter()
            .map(|(uid, date, subject, id, references)| Threaded {
                uid: *uid,
                date: *date,
                subject: base(subject),
                id: ids.numbers(id.as_bytes()).first().copied(),
                references: ids.numbers(references.as_bytes()),
            })
            .collect();
        let mut out = Vec::new();
        thread(&messages, algorithm).write(&mut out, |uid| uid);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn subjects_gather_by_date() {
        let messages = [(1, 3, "Re: a", "", ""), (2, 1, "b", "", ""), (3, 2, "a", "", ""), (4, 5, "A (fwd)", "", "")];
        assert_eq!(threads(&messages, Algorithm::OrderedSubject), "(2)(3 (1)(4))");
    }

    #[test]
    fn references_make_trees() {
        let messages = [
            (1, 1, "x", "<1>", ""),
            (2, 2, "Re: x", "<2>", "<1>"),
            (3, 3, "Re: x", "<3>", "<1> <2>"),
            (4, 4, "Re: x", "<4>", "<1>"),
            (5, 5, "y", "<5>", "<gone>"),
            (6, 6, "Re: y", "<6>", "<gone>"),
        ];
        assert_eq!(threads(&messages, Algorithm::References), "(1 (2 3)(4))((5)(6))");
    }

    #[test]
    fn children_that_come_first_find_their_parent_and_circles_end() {
        let messages = [(1, 9, "Re: q", "<c>", "<a> <b>"), (2, 2, "q", "<a>", ""), (3, 3, "Re: q", "<b>", "<a>")];
        assert_eq!(threads(&messages, Algorithm::References), "(2 3 1)");
        let circle = [(1, 1, "p", "<a>", "<b>"), (2, 2, "q", "<b>", "<a>"), (3, 3, "r", "<s>", "<s>")];
        assert_eq!(threads(&circle, Algorithm::References), "(2 1)(3)");
    }

    #[test]
    fn the_same_subject_joins_what_references_do_not() {
        let messages =
            [(1, 1, "x", "<1>", ""), (2, 2, "Re: x", "<2>", ""), (3, 3, "x", "<3>", ""), (4, 4, "", "", ""), (5, 5, "", "", "")];
        assert_eq!(threads(&messages, Algorithm::References), "((1 2)(3))(4)(5)");
        let twice = [(1, 1, "x", "<1>", ""), (2, 2, "y", "<1>", "")];
        assert_eq!(threads(&twice, Algorithm::References), "(1)(2)");
    }

    #[test]
    fn a_hundred_thousand_in_one_line_are_no_trouble() {
        let id = |number: u32| (number > 0).then_some(number);
        let chain = |order: &mut dyn Iterator<Item = u32>| {
            let messages: Vec<_> = order
                .map(|uid| Threaded {
                    uid,
                    date: uid.into(),
                    subject: Base::default(),
                    id: Some(uid),
                    references: id(uid - 1).into_iter().collect(),
                })
                .collect();
            let mut out = Vec::new();
            thread(&messages, Algorithm::References).write(&mut out, |uid| uid);
            out.iter().filter(|byte| **byte == b'(').count()
        };
        assert_eq!(chain(&mut (1..100_000)), 1);
        assert_eq!(chain(&mut (1..20_000).rev()), 1);
    }
}
