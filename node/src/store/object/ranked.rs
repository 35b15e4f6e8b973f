//! A sorted sequence with ranks: a B-tree whose inner nodes count what is below each child, so that the element of a
//! rank, and the rank of an element, are found in logarithmic time.
//!
//! # Invariants
//!
//! * All leaves are equally deep; no node but the root of an empty tree is empty.
//! * An inner node's `counts[i]` is the number of elements below `children[i]`.

use std::cmp::Ordering;

/// At most so many elements in a leaf, and children in an inner node.
const WIDTH: usize = 64;
/// A node with fewer is joined with a neighbour if both fit into three quarters of one.
const NARROW: usize = WIDTH / 4;

/// Sorted elements.
#[derive(Debug)]
pub struct Ranked<T> {
    root: Node<T>,
    len: usize,
    nodes: usize,
}

#[derive(Debug)]
enum Node<T> {
    Leaf(Vec<T>),
    Inner { counts: Vec<usize>, children: Vec<Node<T>> },
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0, nodes: 1 }
    }
}

impl<T> Ranked<T> {
    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the nodes occupy: each has room for its width, and is on average well filled.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.nodes * WIDTH * size_of::<T>()
    }

    /// How many elements from the first on satisfy a condition that a prefix of them satisfies.
    pub fn partition(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(elements) => return rank + elements.partition_point(&mut before),
                Node::Inner { counts, children } => {
                    // The last child whose first element is still before; the ones in front of it count in full.
                    let at =
                        children.partition_point(|child| child.first().is_some_and(&mut before)).max(1) - 1;
                    rank += counts[..at].iter().sum::<usize>();
                    node = &children[at];
                }
            }
        }
    }

    /// The element of a rank.
    #[must_use]
    pub fn get(&self, rank: usize) -> Option<&T> {
        let (leaf, at) = self.leaf(rank)?;
        leaf.get(at)
    }

    /// The leaf that holds a rank, and where in it.
    #[must_use]
    pub fn leaf(&self, rank: usize) -> Option<(&[T], usize)> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(elements) => return Some((elements, rank)),
                Node::Inner { counts, children } => {
                    let at = child_of(counts, &mut rank);
                    node = children.get(at)?;
                }
            }
        }
    }

    /// Adds an element before the one that has this rank.
    pub fn insert(&mut self, rank: usize, element: T) {
        self.len += 1;
        if let Some(right) = self.root.insert(rank.min(self.len - 1), element, &mut self.nodes) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root =
                Node::Inner { counts: vec![left.count(), right.count()], children: vec![left, right] };
            self.nodes += 1;
        }
    }

    /// Takes the element of a rank out.
    pub fn remove(&mut self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        self.len -= 1;
        let element = self.root.remove(rank, &mut self.nodes);
        while let Node::Inner { children, .. } = &mut self.root
            && children.len() < 2
        {
            self.root = children.pop().unwrap_or_else(|| Node::Leaf(Vec::new()));
            self.nodes -= 1;
        }
        element
    }

    /// The rank at which an element is, or would be, in the order that `compare` tells.
    pub fn find(&self, mut compare: impl FnMut(&T) -> Ordering) -> usize {
        self.partition(|there| compare(there) == Ordering::Less)
    }
}

/// Which child holds a rank, which becomes the rank inside it.
fn child_of(counts: &[usize], rank: &mut usize) -> usize {
    for (i, count) in counts.iter().enumerate() {
        if *rank < *count {
            return i;
        }
        *rank -= count;
    }
    // Behind the last element: inserting there means into the last child.
    let last = counts.len().saturating_sub(1);
    *rank += counts.last().copied().unwrap_or(0);
    last
}

impl<T> Node<T> {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(elements) => elements.len(),
            Self::Inner { counts, .. } => counts.iter().sum(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Leaf(elements) => elements.len(),
            Self::Inner { children, .. } => children.len(),
        }
    }

    fn first(&self) -> Option<&T> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(elements) => return elements.first(),
                Self::Inner { children, .. } => node = children.first()?,
            }
        }
    }

    /// Inserts below this node; the right half if it had to be split.
    fn insert(&mut self, mut rank: usize, element: T, nodes: &mut usize) -> Option<Self> {
        match self {
            Self::Leaf(elements) => elements.insert(rank, element),
            Self::Inner { counts, children } => {
                let at = child_of(counts, &mut rank);
                let split = children[at].insert(rank, element, nodes);
                counts[at] += 1;
                if let Some(right) = split {
                    let moved = right.count();
                    counts[at] -= moved;
                    counts.insert(at + 1, moved);
                    children.insert(at + 1, right);
                }
            }
        }
        if self.width() <= WIDTH {
            return None;
        }
        *nodes += 1;
        Some(match self {
            Self::Leaf(elements) => Self::Leaf(elements.split_off(WIDTH / 2)),
            Self::Inner { counts, children } => {
                Self::Inner { counts: counts.split_off(WIDTH / 2), children: children.split_off(WIDTH / 2) }
            }
        })
    }

    fn remove(&mut self, mut rank: usize, nodes: &mut usize) -> Option<T> {
        match self {
            Self::Leaf(elements) => (rank < elements.len()).then(|| elements.remove(rank)),
            Self::Inner { counts, children } => {
                let at = child_of(counts, &mut rank);
                let element = children[at].remove(rank, nodes);
                counts[at] -= 1;
                if children[at].width() < NARROW {
                    join(counts, children, at, nodes);
                }
                element
            }
        }
    }
}

/// Joins a narrow child with a neighbour that has room for it; an empty one goes.
fn join<T>(counts: &mut Vec<usize>, children: &mut Vec<Node<T>>, at: usize, nodes: &mut usize) {
    if children[at].width() == 0 {
        counts.remove(at);
        children.remove(at);
        *nodes -= 1;
        return;
    }
    let fits = |left: usize| {
        let both = children.get(left).zip(children.get(left + 1));
        both.is_some_and(|(left, right)| left.width() + right.width() <= WIDTH - NARROW)
    };
    let left = if at > 0 && fits(at - 1) {
        at - 1
    } else if fits(at) {
        at
    } else {
        return;
    };
    let right = children.remove(left + 1);
    counts[left] += counts.remove(left + 1);
    *nodes -= 1;
    match (&mut children[left], right) {
        (Node::Leaf(left), Node::Leaf(right)) => left.extend(right),
        (Node::Inner { counts, children }, Node::Inner { counts: more, children: others }) => {
            counts.extend(more);
            children.extend(others);
        }
        (Node::Leaf(_), Node::Inner { .. }) | (Node::Inner { .. }, Node::Leaf(_)) => {
            debug_assert!(false, "all leaves are equally deep");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(tree: &Ranked<u32>, model: &[u32]) {
        assert_eq!(tree.len(), model.len());
        let (mut rank, mut seen) = (0, Vec::new());
        while let Some((leaf, at)) = tree.leaf(rank) {
            assert_eq!(at, 0);
            seen.extend_from_slice(leaf);
            rank += leaf.len();
        }
        assert_eq!(seen, model);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 48 }, ..Default::default() })]
        #[test]
        fn a_ranked_tree_holds_what_a_sorted_vector_would_hold(
            fills in proptest::collection::vec((any::<bool>(), 0u32..20_000), 0..6000), removes in 1u8..8
        ) {
            let (mut tree, mut model) = (Ranked::default(), Vec::<u32>::new());
            for (i, (likely, value)) in fills.into_iter().enumerate() {
                let at = tree.find(|there: &u32| there.cmp(&value));
                prop_assert_eq!(at, model.partition_point(|there| *there < value));
                if likely || i % 8 >= usize::from(removes) {
                    tree.insert(at, value);
                    model.insert(at, value);
                } else if !model.is_empty() {
                    let rank = value as usize % model.len();
                    prop_assert_eq!(tree.remove(rank), Some(model.remove(rank)));
                }
            }
            check(&tree, &model);
            for rank in 0..model.len() + 1 {
                prop_assert_eq!(tree.get(rank), model.get(rank));
            }
        }
    }

    #[test]
    fn a_tree_that_is_emptied_gives_its_nodes_back() {
        let mut tree = Ranked::default();
        for i in 0..100_000u32 {
            tree.insert(i as usize, i);
        }
        let full = tree.nodes;
        while tree.len() > 10 {
            let rank = tree.len() / 2;
            tree.remove(rank);
        }
        assert!(tree.nodes <= 3 && full > 1500, "{} of {full} nodes", tree.nodes);
        check(&tree, &[0, 1, 2, 3, 4, 99_995, 99_996, 99_997, 99_998, 99_999]);
    }
}
