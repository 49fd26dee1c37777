use proptest::prelude::*;

use super::*;

const TYPE: u32 = 0x1000;

/// A component with a memory of two pieces, in each an object, and a smaller memory that is none of it.
fn component() -> Vec<u8> {
    let word = |word: u32| {
        let bytes = word.to_le_bytes().map(|byte| format!("\\{byte:02x}"));
        bytes.concat()
    };
    let objects = [3, TYPE, 0xffff_fff0, 0, TYPE, 1, 0x2000].map(word).concat();
    let text = format!(
        r#"(component
          (core module (memory 1) (data (i32.const 64) "{}{}"))
          (component (core module
            (memory 1)
            (data (i32.const 64) "{objects}")
            (data (i32.const 256) "{}{}"))))"#,
        word(9),
        word(TYPE),
        word(7),
        word(TYPE),
    );
    wat::parse_str(text).unwrap()
}

fn list(entries: &[(u32, u32)]) -> Vec<u8> {
    let words = entries.iter().flat_map(|(address, ty)| [*address, *ty]);
    words.flat_map(u32::to_le_bytes).collect()
}

/// The places at which two texts differ.
fn changed(before: &[u8], after: &[u8]) -> Vec<usize> {
    let pairs = before.iter().zip(after).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(position, _)| position)
        .collect()
}

#[test]
fn objects_that_are_there_get_the_count_of_immortal_ones() {
    let before = component();
    let mut after = before.clone();
    assert_eq!(
        immortalize(&mut after, &list(&[(64, TYPE), (256, TYPE)])).unwrap(),
        2
    );
    // 3 and 7 become 0x50000000: two bytes each.
    let places = changed(&before, &after);
    assert_eq!(places.len(), 4);
    assert_eq!(
        places
            .iter()
            .map(|position| before[*position])
            .collect::<Vec<_>>(),
        [3, 0, 7, 0]
    );
    assert_eq!(
        places.iter().map(|position| after[*position]).collect::<Vec<_>>(),
        [0, 0x50, 0, 0x50]
    );
    wasmparser::validate(&after).unwrap();
    // Again there is nothing to do.
    assert_eq!(immortalize(&mut after, &list(&[(64, TYPE)])).unwrap(), 0);
}

#[test]
fn what_does_not_look_like_the_object_stays() {
    let before = component();
    for (what, entry) in [
        ("another type", (64, TYPE + 4)),
        ("a pointer in place of a count", (72, 0)),
        ("nothing refers to it", (76, TYPE)),
        ("its type is not in the snapshot", (88, TYPE)),
        ("nothing of it is", (4096, TYPE)),
        ("before the first", (0, TYPE)),
        ("no memory is that large", (u32::MAX, TYPE)),
    ] {
        let mut after = before.clone();
        assert_eq!(immortalize(&mut after, &list(&[entry])).unwrap(), 0, "{what}");
        assert_eq!(after, before, "{what}");
    }
    let mut after = before.clone();
    let cut = &list(&[(64, TYPE)])[..7];
    assert_eq!(immortalize(&mut after, cut).unwrap(), 0, "a list that is cut off");
}

proptest! {
    #[test]
    fn a_wrong_list_changes_no_more_than_what_could_be_counts(entries in prop::collection::vec((48_u32..300, 0_u32..0x2001), 0..50)) {
        let before = component();
        let mut after = before.clone();
        let count = immortalize(&mut after, &list(&entries)).unwrap();
        prop_assert!(changed(&before, &after).len() <= 4 * count);
    }
}
