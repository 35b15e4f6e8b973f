//! Random changes of a list against a plain deque, and a long list.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Push(bool, usize),
    Pop(bool, usize),
    Set(usize, usize),
    Insert(usize, usize),
    Remove(Vec<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let len = || prop_oneof![6 => 0usize..900, 1 => 5_000usize..20_000];
    prop_oneof![
        8 => (any::<bool>(), len()).prop_map(|(left, len)| Step::Push(left, len)),
        2 => (any::<bool>(), 0usize..30).prop_map(|(left, count)| Step::Pop(left, count)),
        2 => (any::<usize>(), len()).prop_map(|(at, len)| Step::Set(at, len)),
        4 => (any::<usize>(), len()).prop_map(|(at, len)| Step::Insert(at, len)),
        1 => proptest::collection::vec(any::<usize>(), 0..20).prop_map(Step::Remove),
    ]
}

fn text(number: usize, len: usize) -> Vec<u8> {
    let mut text = number.to_string().into_bytes();
    text.resize(text.len() + len, b'x');
    text
}

fn end(left: bool) -> End {
    if left { End::Left } else { End::Right }
}

fn apply(list: &mut List, model: &mut VecDeque<Vec<u8>>, number: usize, step: Step) {
    match step {
        Step::Push(left, len) => {
            let text = text(number, len);
            list.push(end(left), &text);
            if left { model.push_front(text) } else { model.push_back(text) }
        }
        Step::Pop(left, count) => {
            list.pop(end(left), count);
            let count = count.min(model.len());
            drop(if left { model.drain(..count) } else { model.drain(model.len() - count..) });
        }
        Step::Set(at, len) => {
            let at = at % (model.len() + 1);
            list.set(at, &text(number, len));
            if let Some(there) = model.get_mut(at) {
                *there = text(number, len);
            }
        }
        Step::Insert(at, len) => {
            let at = at % (model.len() + 1);
            list.insert(at, &text(number, len));
            model.insert(at, text(number, len));
        }
        Step::Remove(indices) => {
            let mut gone: Vec<_> = indices.into_iter().map(|at| at % (model.len() + 1)).collect();
            gone.sort_unstable();
            gone.dedup();
            list.remove(gone.iter().copied());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                gone.binary_search(&(at - 1)).is_err()
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 64 }, ..Default::default() })]
    #[test]
    fn a_list_holds_what_a_deque_would_hold(steps in proptest::collection::vec(step(), 0..160)) {
        let (mut list, mut model) = (List::default(), VecDeque::new());
        for (number, step) in steps.into_iter().enumerate() {
            apply(&mut list, &mut model, number, step);
            prop_assert_eq!(list.len(), model.len());
            let held: usize = model.iter().map(Vec::len).sum();
            prop_assert!(list.memory() >= held, "{} for {held}", list.memory());
        }
        prop_assert!(list.iter_from(0).eq(model.iter().map(Vec::as_slice)));
        prop_assert!(list.iter_from(0).rev().eq(model.iter().rev().map(Vec::as_slice)));
        let (third, two) = (model.len() / 3, model.len() * 2 / 3);
        prop_assert!(list.iter_between(third, two).eq(model.range(third..two).map(Vec::as_slice)));
        prop_assert!(list.iter_between(third, two).rev().eq(model.range(third..two).rev().map(Vec::as_slice)));
        for (i, text) in model.iter().enumerate() {
            prop_assert_eq!(list.get(i), Some(&text[..]));
        }
    }
}

#[test]
fn a_million_elements_cost_no_quadratic_time_at_the_ends_or_in_a_removal() {
    let mut list = List::default();
    for i in 0..1_000_000u32 {
        list.push(if i % 2 == 0 { End::Left } else { End::Right }, &i.to_le_bytes());
    }
    assert_eq!((list.len(), list.encoding()), (1_000_000, "quicklist"));
    list.remove((0..1_000_000).filter(|i| i % 2 == 0));
    assert_eq!(list.len(), 500_000);
    for _ in 0..499_999 {
        list.pop(End::Right, 1);
    }
    assert_eq!((list.len(), list.encoding()), (1, "listpack"));
}
