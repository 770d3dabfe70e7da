//! THREAD (RFC 5256 §4): messages gathered into trees, by subject or by what they refer to.
//!
//! Nothing here recurses: a thread may be as deep as a folder is long.

mod forest;

use std::collections::HashMap;

use crate::index::Index;
use crate::keys::Id;
use crate::sorting::SortKey;
pub(crate) use forest::Forest;

/// How messages are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// A base subject, as far as threads go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The same for the same text, in the order of the texts; 0 where there is none.
    pub(crate) number: u32,
    /// It marks a reply or a forward.
    pub(crate) reply: bool,
}

/// What threading needs to know of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threaded {
    pub(crate) uid: u32,
    /// Sent: Unix seconds.
    pub(crate) date: i64,
    pub(crate) subject: Subject,
    /// Its Message-ID: ids are numbered from 0.
    pub(crate) id: Option<u32>,
    /// What it refers to, oldest first.
    pub(crate) references: Vec<u32>,
}

/// Ids by number.
#[derive(Default)]
struct Numbers<'a>(HashMap<&'a Id, u32>);

impl<'a> Numbers<'a> {
    fn of(&mut self, id: &'a Id) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(id).or_insert(next)
    }
}

/// Makes threads of some messages of an index, by their places in it, which ascend.
pub(crate) fn threads(index: &Index, places: impl Iterator<Item = usize>, algorithm: Algorithm) -> Forest {
    let mut numbers = Numbers::default();
    let ranks = index.ranks(SortKey::Subject);
    let threaded = |place: usize| {
        let keys = index.keys(place);
        let named = keys.filter(|_| algorithm == Algorithm::References);
        Threaded {
            uid: index.entry(place).uid,
            date: index.sent(place),
            subject: Subject { number: ranks.get(place).copied().unwrap_or(0), reply: keys.is_some_and(|keys| keys.reply) },
            id: named.and_then(|keys| keys.id).map(|id| numbers.of(id)),
            references: named.map_or(&[][..], |keys| keys.references).iter().map(|id| numbers.of(id)).collect(),
        }
    };
    let messages: Vec<_> = places.map(threaded).collect();
    thread(&messages, algorithm)
}

/// Gathers messages, which come in the folder's order.
fn thread(messages: &[Threaded], algorithm: Algorithm) -> Forest {
    match algorithm {
        Algorithm::OrderedSubject => ordered_subject(messages),
        Algorithm::References => references(messages),
    }
}

/// RFC 5256 §3: by subject, then date; the first is the parent of all others.
fn ordered_subject(messages: &[Threaded]) -> Forest {
    let mut order: Vec<&Threaded> = messages.iter().collect();
    order.sort_unstable_by_key(|message| (message.subject.number, message.date, message.uid));
    let mut forest = Forest::default();
    for group in order.chunk_by(|a, b| a.subject.number == b.subject.number) {
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
    let mut nodes = Nodes::default();
    let mut subjects: Vec<Subject> = Vec::new();
    for message in messages {
        let found = message.id.map(|id| nodes.of(id, &mut forest));
        // Two messages of one name: the second stands alone.
        let node = match found {
            Some(node) if forest.message(node).is_none() => node,
            _ => forest.add(None),
        };
        forest.fill(node, (message.uid, message.date));
        if subjects.len() <= node {
            subjects.resize(node + 1, Subject::default());
        }
        if let Some(slot) = subjects.get_mut(node) {
            *slot = message.subject;
        }
        let mut before = None;
        for reference in &message.references {
            let next = nodes.of(*reference, &mut forest);
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

/// Nodes of the forest, by the number of the id.
#[derive(Default)]
struct Nodes(Vec<Option<usize>>);

impl Nodes {
    /// That of an id; a new one where there is none yet.
    fn of(&mut self, id: u32, forest: &mut Forest) -> usize {
        let place = usize::try_from(id).unwrap_or(usize::MAX);
        if self.0.len() <= place {
            self.0.resize(place + 1, None);
        }
        match self.0.get_mut(place) {
            Some(slot) => *slot.get_or_insert_with(|| forest.add(None)),
            None => forest.add(None),
        }
    }
}

/// Step 5: threads without a common ancestor and with the same subject become one.
fn gather_by_subject(forest: &mut Forest, subjects: &[Subject]) {
    forest.sort_roots();
    let subject = |forest: &Forest, root: usize| {
        let speaker = if forest.message(root).is_some() { Some(root) } else { forest.first_child(root) };
        speaker.and_then(|node| subjects.get(node).copied()).unwrap_or_default()
    };
    let mut table: HashMap<u32, usize> = HashMap::new();
    for root in forest.roots() {
        let base = subject(forest, root);
        if base.number == 0 {
            continue;
        }
        let Some(&known) = table.get(&base.number) else {
            table.insert(base.number, root);
            continue;
        };
        let better = forest.message(known).is_some() && forest.message(root).is_none()
            || forest.message(known).is_some() && subject(forest, known).reply && !base.reply;
        if better {
            table.insert(base.number, root);
        }
    }
    for root in forest.roots() {
        let base = subject(forest, root);
        let Some(&known) = table.get(&base.number).filter(|known| **known != root) else { continue };
        let empty = |forest: &Forest, node: usize| forest.message(node).is_none();
        if empty(forest, known) && empty(forest, root) {
            forest.move_children(root, known);
        } else if empty(forest, known) || base.reply && !subject(forest, known).reply {
            forest.link(known, root);
        } else {
            let both = forest.add(None);
            forest.link(both, known);
            forest.link(both, root);
            table.insert(base.number, both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::of_header;

    /// Of messages (UID, date, subject, Message-ID, References).
    fn threads(messages: &[(u32, i64, &str, &str, &str)], algorithm: Algorithm) -> String {
        let mut index = Index::default();
        for (uid, date, subject, id, references) in messages {
            let header = format!("Subject: {subject}\r\nMessage-ID: {id}\r\nReferences: {references}\r\n");
            index.push(*uid, (0, *date, 0), Some(&of_header(header.as_bytes())));
        }
        let mut out = Vec::new();
        super::threads(&index, 0..messages.len(), algorithm).write(&mut out, |uid| uid);
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
                    subject: Subject::default(),
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
