//! Ordered maps and sets that hold little nearly always: who is connected, what is on its way to whom.
//!
//! A node has some fifty such tables, each with a handful of rows, and looks at most of them at every event. A B-tree takes room for eleven rows with the first
//! one, and goes from leaf to leaf however few there are. Here a handful is one sorted piece of memory; what grows beyond that is a B-tree after all, so that
//! nothing becomes slow on the node of somebody who keeps letters for a whole town. Order and outcome are those of [`BTreeMap`] either way.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Bound;
use std::slice;

/// Rows up to which a table is one piece of memory: more than most nodes ever have contacts connected.
const FEW_MAX: usize = 48;
/// A table that has become so small again is one piece again. Far below the other bound, so that none goes back and forth.
const FEW_AGAIN: usize = 12;
/// Room for fewer rows is kept, however few are left.
const ROOM_MIN: usize = 8;

#[derive(Clone)]
enum Rows<K, V> {
    /// Sorted by key; each key once.
    Few(Vec<(K, V)>),
    #[expect(
        clippy::box_collection,
        reason = "as it is, every table would take a word more, and nearly all of them are the other kind"
    )]
    Many(Box<BTreeMap<K, V>>),
}

/// An ordered map.
#[derive(Clone)]
pub struct SmallMap<K, V>(Rows<K, V>);

/// An ordered set.
#[derive(Clone)]
pub struct SmallSet<K>(SmallMap<K, ()>);

impl<K, V> SmallMap<K, V> {
    /// Without any row.
    pub const fn new() -> Self {
        Self(Rows::Few(Vec::new()))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Rows::Few(rows) => rows.len(),
            Rows::Many(rows) => rows.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        match &self.0 {
            Rows::Few(rows) => Iter::Few(rows.iter()),
            Rows::Many(rows) => Iter::Many(rows.iter()),
        }
    }

    /// The same, to change the values.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        match &mut self.0 {
            Rows::Few(rows) => IterMut::Few(rows.iter_mut()),
            Rows::Many(rows) => IterMut::Many(rows.iter_mut()),
        }
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The same, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// Takes all rows out, and gives their room back.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The row with the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }
}

/// The rows in the order of their keys.
pub enum Iter<'a, K, V> {
    /// Of one piece.
    Few(slice::Iter<'a, (K, V)>),
    /// Of a B-tree.
    Many(btree_map::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(rows) => rows.next().map(|(key, value)| (key, value)),
            Self::Many(rows) => rows.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(rows) => rows.size_hint(),
            Self::Many(rows) => rows.size_hint(),
        }
    }
}

/// The same, to change the values.
pub enum IterMut<'a, K, V> {
    /// Of one piece.
    Few(slice::IterMut<'a, (K, V)>),
    /// Of a B-tree.
    Many(btree_map::IterMut<'a, K, V>),
}

impl<'a, K, V> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(rows) => rows.next().map(|(key, value)| (&*key, value)),
            Self::Many(rows) => rows.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(rows) => rows.size_hint(),
            Self::Many(rows) => rows.size_hint(),
        }
    }
}

/// Where a key is in the rows, or where it would be.
fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(rows: &[(K, V)], key: &Q) -> Result<usize, usize> {
    rows.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

/// Puts a row in. Room grows by half: a node has many tables, and most of them stay as they are.
fn put<T>(rows: &mut Vec<T>, at: usize, row: T) {
    if rows.len() == rows.capacity() {
        rows.reserve_exact((rows.len() / 2).max(2));
    }
    rows.insert(at, row);
}

impl<K: Ord, V> SmallMap<K, V> {
    /// The value of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match &self.0 {
            Rows::Few(rows) => find(rows, key).ok().map(|at| &rows[at].1),
            Rows::Many(rows) => rows.get(key),
        }
    }

    /// The same, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match &mut self.0 {
            Rows::Few(rows) => find(rows, key).ok().map(|at| &mut rows[at].1),
            Rows::Many(rows) => rows.get_mut(key),
        }
    }

    /// The rows of the keys from one to another, both included, in order.
    pub fn between<'a, Q: Ord + ?Sized>(&'a self, from: &Q, to: &Q) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let (mut few, mut many) = (&[][..], None);
        if from <= to {
            match &self.0 {
                Rows::Few(rows) => {
                    let first = find(rows, from).unwrap_or_else(|at| at);
                    let end = find(rows, to).map_or_else(|at| at, |at| at + 1);
                    few = rows.get(first..end).unwrap_or_default();
                }
                Rows::Many(rows) => many = Some(rows.range((Bound::Included(from), Bound::Included(to)))),
            }
        }
        few.iter().map(|(key, value)| (key, value)).chain(many.into_iter().flatten())
    }

    /// Whether there is a row of this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Makes room for one more row.
    fn grow(&mut self) {
        if let Rows::Few(rows) = &mut self.0
            && rows.len() >= FEW_MAX
        {
            self.0 = Rows::Many(Box::new(std::mem::take(rows).into_iter().collect()));
        }
    }

    /// Gives room back after a row is gone.
    fn shrink(&mut self) {
        match &mut self.0 {
            Rows::Few(rows) if rows.capacity() > ROOM_MIN && rows.len() <= rows.capacity() / 4 => rows.shrink_to(rows.len() * 2),
            Rows::Many(rows) if rows.len() <= FEW_AGAIN => {
                self.0 = Rows::Few(std::mem::take(&mut **rows).into_iter().collect());
            }
            _ => {}
        }
    }

    /// Puts a row in; the value that the key had before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.grow();
        match &mut self.0 {
            Rows::Few(rows) => match find(rows, &key) {
                Ok(at) => Some(std::mem::replace(&mut rows[at].1, value)),
                Err(at) => {
                    put(rows, at, (key, value));
                    None
                }
            },
            Rows::Many(rows) => rows.insert(key, value),
        }
    }

    /// The value of this key; that of `value` if there was none.
    pub fn or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        self.grow();
        match &mut self.0 {
            Rows::Few(rows) => {
                let at = match find(rows, &key) {
                    Ok(at) => at,
                    Err(at) => {
                        put(rows, at, (key, value()));
                        at
                    }
                };
                &mut rows[at].1
            }
            Rows::Many(rows) => rows.entry(key).or_insert_with(value),
        }
    }

    /// The value of this key; the default if there was none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.or_insert_with(key, V::default)
    }

    /// Takes a row out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = match &mut self.0 {
            Rows::Few(rows) => find(rows, key).ok().map(|at| rows.remove(at).1),
            Rows::Many(rows) => rows.remove(key),
        };
        if removed.is_some() {
            self.shrink();
        }
        removed
    }

    /// Takes the row with the least key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let first = match &mut self.0 {
            Rows::Few(rows) => (!rows.is_empty()).then(|| rows.remove(0)),
            Rows::Many(rows) => rows.pop_first(),
        };
        self.shrink();
        first
    }

    /// Takes out all rows but those that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        match &mut self.0 {
            Rows::Few(rows) => rows.retain_mut(|(key, value)| keep(key, value)),
            Rows::Many(rows) => rows.retain(keep),
        }
        self.shrink();
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let mut this = Self::new();
        for (key, value) in rows {
            this.insert(key, value);
        }
        this
    }
}

impl<K: Ord> FromIterator<K> for SmallSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key, ())).collect())
    }
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K> SmallSet<K> {
    /// Without anything in it.
    pub const fn new() -> Self {
        Self(SmallMap::new())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// The least one.
    pub fn first(&self) -> Option<&K> {
        self.0.first_key_value().map(|(key, ())| key)
    }
}

impl<K: Ord> SmallSet<K> {
    /// What lies between these keys, both included, in order.
    pub fn between<'a, Q: Ord + ?Sized>(&'a self, from: &Q, to: &Q) -> impl Iterator<Item = &'a K> + use<'a, K, Q>
    where
        K: Borrow<Q>,
    {
        self.0.between(from, to).map(|(key, ())| key)
    }

    /// Whether it is there.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// True if it is new.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// True if it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove(key).is_some()
    }

    /// Takes the least one out.
    pub fn pop_first(&mut self) -> Option<K> {
        self.0.pop_first().map(|(key, ())| key)
    }
}

impl<K> Default for SmallSet<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug> fmt::Debug for SmallSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may be done with a table.
    #[derive(Clone, Debug)]
    enum Deed {
        Insert(u8, u16),
        Remove(u8),
        OrInsert(u8, u16),
        PopFirst,
        /// Keeps the keys that leave this rest when divided by three.
        Retain(u8),
        Clear,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            40 => (0..120_u8, any::<u16>()).prop_map(|(key, value)| Deed::Insert(key, value)),
            20 => (0..120_u8).prop_map(Deed::Remove),
            10 => (0..120_u8, any::<u16>()).prop_map(|(key, value)| Deed::OrInsert(key, value)),
            20 => Just(Deed::PopFirst),
            1 => (0..3_u8).prop_map(Deed::Retain),
            1 => Just(Deed::Clear),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_done_with_it_a_small_map_is_the_same_as_a_b_tree(deeds in proptest::collection::vec(deed(), 1..400)) {
            let (mut small, mut model) = (SmallMap::new(), BTreeMap::new());
            for deed in deeds {
                match deed {
                    Deed::Insert(key, value) => prop_assert_eq!(small.insert(key, value), model.insert(key, value)),
                    Deed::Remove(key) => prop_assert_eq!(small.remove(&key), model.remove(&key)),
                    Deed::OrInsert(key, value) => {
                        prop_assert_eq!(small.or_insert_with(key, || value), model.entry(key).or_insert(value));
                    }
                    Deed::PopFirst => prop_assert_eq!(small.pop_first(), model.pop_first()),
                    Deed::Retain(rest) => {
                        small.retain(|key, _| key % 3 == rest);
                        model.retain(|key, _| key % 3 == rest);
                    }
                    Deed::Clear => {
                        small.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!((small.len(), small.first_key_value()), (model.len(), model.first_key_value()));
                prop_assert!(small.iter().eq(model.iter()) && small.iter_mut().eq(model.iter_mut()));
                prop_assert!((0..120).all(|key| small.get(&key) == model.get(&key)));
                prop_assert!(matches!(&small.0, Rows::Few(rows) if rows.len() <= FEW_MAX) || small.len() > FEW_AGAIN);
            }
        }

        #[test]
        fn what_lies_between_two_keys_is_found_in_small_sets_and_in_large_ones(
            keys in proptest::collection::vec(any::<u8>(), 0..200),
            (from, to) in (any::<u8>(), any::<u8>()),
        ) {
            let (from, to) = (from.min(to), from.max(to));
            let (small, model): (SmallSet<u8>, std::collections::BTreeSet<u8>) =
                (keys.iter().copied().collect(), keys.iter().copied().collect());
            prop_assert!(small.between(&from, &to).eq(model.range(from..=to)));
            prop_assert!(from == to || small.between(&to, &from).next().is_none());
        }
    }
}
