use proptest::prelude::*;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::*;

/// Two libraries that call each other: directly, by a trampoline, by the address of a function, and through
/// the host; with places for more.
const LINKED: &str = r#"
(component
  (import "host" (func $host (param "x" s32) (result s32)))
  (core module $env
    (type $f (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "table") 9 funcref)
    (global (export "a:table_base") i32 (i32.const 1))
    (global (export "b:table_base") i32 (i32.const 3))
    (global (export "stack") (mut i32) (i32.const 512))
    (global (export "GOT:square") (mut i32) (i32.const 6))
    (func $later (export "later") (type $f) (call_indirect (type $f) (local.get 0) (i32.const 5)))
    (func (export "outside") (type $f) (call_indirect (type $f) (local.get 0) (i32.const 6)))
    ;; ENV
  )
  (core module $a
    (@custom "dylink.0" (before first) "")
    (type $f (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 0 funcref))
    (import "env" "base" (global $base i32))
    (import "env" "stack" (global $stack (mut i32)))
    (import "GOT" "square" (global $square (mut i32)))
    (import "env" "later" (func $later (type $f)))
    (elem (global.get $base) func $increment $decrement)
    (func $increment (export "increment") (type $f) (i32.add (local.get 0) (i32.const 1)))
    (func $decrement (type $f) (i32.sub (local.get 0) (i32.const 1)))
    (func (export "run") (type $f)
      (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
      (i32.store (global.get $stack) (call $later (local.get 0)))
      (i32.add (i32.load (global.get $stack))
        (i32.add
          (call_indirect (type $f) (i32.const 10) (global.get $square))
          (call_indirect (type $f) (i32.const 100) (i32.add (global.get $base) (i32.const 1))))))
    ;; A
  )
  (core module $b
    (@custom "dylink.0" (before first) "")
    (type $f (func (param i32) (result i32)))
    (import "env" "memory" (memory 1))
    (import "env" "table" (table 0 funcref))
    (import "env" "base" (global $base i32))
    (import "env" "increment" (func $increment (type $f)))
    (import "host" "host" (func $host (type $f)))
    (elem (global.get $base) func $later)
    (func $later (export "later") (type $f) (call $host (call $increment (local.get 0))))
    (func $square (export "square") (type $f) (i32.mul (local.get 0) (local.get 0)))
    ;; B
  )
  (core module $fill
    (type $f (func (param i32) (result i32)))
    (import "env" "table" (table 0 funcref))
    (import "b" "later" (func $later (type $f)))
    (import "b" "square" (func $square (type $f)))
    (elem (i32.const 5) func $later $square)
    ;; FILL
  )
  (core module $other
    (type $f (func (param i32) (result i32)))
    (import "env" "outside" (func $outside (type $f)))
    (func (export "outside") (type $f) (call $outside (local.get 0)))
    ;; OTHER
  )
  (core instance $e (instantiate $env))
  (core instance $o (instantiate $other (with "env" (instance $e))))
  (alias core export $e "memory" (core memory $memory))
  (alias core export $e "table" (core table $table))
  (alias core export $e "a:table_base" (core global $a_base))
  (alias core export $e "b:table_base" (core global $b_base))
  (alias core export $e "stack" (core global $stack))
  (alias core export $e "GOT:square" (core global $square))
  (alias core export $e "later" (core func $later))
  (core instance $a (instantiate $a
    (with "env" (instance
      (export "memory" (memory $memory)) (export "table" (table $table)) (export "base" (global $a_base))
      (export "stack" (global $stack)) (export "later" (func $later))))
    (with "GOT" (instance (export "square" (global $square))))))
  (alias core export $a "increment" (core func $increment))
  ;; BETWEEN
  (core func $lowered (canon lower (func $host)))
  (core instance $b (instantiate $b
    (with "env" (instance
      (export "memory" (memory $memory)) (export "table" (table $table)) (export "base" (global $b_base))
      (export "increment" (func $increment))))
    (with "host" (instance (export "host" (func $lowered))))))
  (core instance (instantiate $fill (with "env" (instance $e)) (with "b" (instance $b))))
  ;; INSTANCES
  (func (export "run") (param "x" s32) (result s32) (canon lift (core func $a "run")))
  (func (export "increment") (param "x" s32) (result s32) (canon lift (core func $increment)))
  (func (export "outside") (param "x" s32) (result s32) (canon lift (core func $o "outside")))
)"#;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The text with something more at a place.
fn with(location: &str, more: &str) -> Vec<u8> {
    let mark = format!(";; {location}\n");
    assert!(LINKED.contains(&mark));
    component(&LINKED.replace(&mark, &format!("{more}\n")))
}

/// What the exports of a component answer.
fn answers(component: &[u8]) -> Vec<i32> {
    let engine = Engine::default();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    let host = |_: wasmtime::StoreContextMut<'_, ()>, (x,): (i32,)| Ok((x * 1000,));
    linker.root().func_wrap("host", host).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let names = ["run", "increment", "outside", "run"];
    let answer = |name| {
        let func = instance
            .get_typed_func::<(i32,), (i32,)>(&mut store, name)
            .unwrap();
        func.call(&mut store, (7,)).unwrap().0
    };
    names.map(answer).to_vec()
}

fn modules(component: &[u8]) -> usize {
    let payloads = Parser::new(0)
        .parse_all(component)
        .map(std::result::Result::unwrap);
    payloads
        .filter(|payload| matches!(payload, Payload::ModuleSection { .. }))
        .count()
}

/// Why it stays as it is.
fn apart(component: &[u8]) -> String {
    together(component).unwrap_err().to_string()
}

#[test]
fn two_libraries_become_one_module_that_does_the_same() {
    let apart = component(LINKED);
    let linked = together(&apart).unwrap();
    let expected = vec![8000 + 100 + 99, 8, 49, 8000 + 100 + 99];
    assert_eq!(answers(&apart), expected);
    assert_eq!(answers(&linked), expected);
    assert_eq!((modules(&apart), modules(&linked)), (5, 3));
}

#[test]
fn libraries_are_found_in_a_component_within() {
    let text = LINKED.replacen("(component", "(component $inner", 1);
    let text = format!(
        r#"(component (import "host" (func $host (param "x" s32) (result s32))) {text}
        (instance $i (instantiate $inner (with "host" (func $host))))
        (export "run" (func $i "run")) (export "increment" (func $i "increment"))
        (export "outside" (func $i "outside")))"#
    );
    let apart = component(&text);
    let linked = together(&apart).unwrap();
    assert_eq!(answers(&linked), answers(&apart));
    assert_eq!(modules(&linked), 3);
}

#[test]
fn the_one_module_has_a_table_of_its_own_with_nothing_left_to_compute() {
    let linked = together(&component(LINKED)).unwrap();
    let module = Parser::new(0)
        .parse_all(&linked)
        .map(std::result::Result::unwrap)
        .filter_map(|payload| match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                Some(Library::new(&linked[unchecked_range]).unwrap())
            }
            _ => None,
        });
    let module = module.max_by_key(|module| module.bodies.len()).unwrap();
    assert_eq!(module.tables.len(), 1);
    // The stack pointer is the only global that changes.
    assert_eq!(module.imported_globals.len(), 1);
    // `host` alone: the trampoline of `later` is gone.
    assert_eq!(module.imported_funcs.len(), 1);
    let written = |element| module.written(element, &|_| None).unwrap().unwrap();
    let locations: Vec<_> = module.elements.iter().map(|element| written(element).0).collect();
    // The libraries' and the filler's, and then the place that the other module calls, in the shared table.
    assert_eq!(locations, [1, 3, 5, 6, 6]);
}

#[test]
fn what_is_not_as_expected_stays_apart() {
    for (location, more, why) in [
        ("A", "(func $begin) (start $begin)", "does not know"),
        (
            "A",
            "(func (table.set (i32.const 0) (ref.null func)))",
            "changes its table",
        ),
        ("A", "(table 1 funcref)", "does not know"),
        (
            "B",
            "(elem (table 0) (i32.const 0) funcref (ref.null func))",
            "more than functions",
        ),
        (
            "ENV",
            "(func (result i32) (call_indirect (type $f) (i32.const 1) (i32.const 1)))",
            "more than expected",
        ),
        ("ENV", "(elem (i32.const 8) $later)", "more than expected"),
        (
            "FILL",
            "(func $begin) (start $begin)",
            "more than one module uses",
        ),
        (
            "BETWEEN",
            "(core module $now (func $begin) (start $begin)) (core instance (instantiate $now))",
            "something runs before",
        ),
        (
            "INSTANCES",
            r#"(core instance (instantiate $fill (with "env" (instance $e)) (with "b" (instance $b))))"#,
            "more than one module uses",
        ),
    ] {
        let component = with(location, more);
        let said = apart(&component);
        assert!(said.contains(why), "{more}: {said}");
    }
}

#[test]
fn a_global_that_another_module_changes_is_no_constant() {
    let text = LINKED
        .replace(
            ";; OTHER\n",
            "(func (export \"set\") (global.set $g (i32.const 5)))\n",
        )
        .replace(
            "(import \"env\" \"outside\"",
            "(import \"env\" \"GOT:square\" (global $g (mut i32))) (import \"env\" \"outside\"",
        )
        .replace(
            ";; INSTANCES\n",
            "(core module $now (import \"o\" \"set\" (func $set)) (start $set))
             (core instance (instantiate $now (with \"o\" (instance $o))))\n",
        );
    let apart = component(&text);
    let answered = answers(&apart);
    assert_eq!(
        answered[0],
        8000 + 11_000 + 99,
        "the address is that of `later` now"
    );
    assert_eq!(answers(&together(&apart).unwrap()), answered);
}

#[test]
fn a_component_without_libraries_is_reported() {
    assert_eq!(
        apart(&component("(component (core module))")),
        "it has no libraries"
    );
    assert_eq!(apart(&component("(module)")), "it is not a component");
    assert!(together(b"").is_err());
    assert!(together(b"\0asm").is_err());
    let whole = component(LINKED);
    assert!(together(&whole[..whole.len() / 2]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_change_of_the_bytes_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut component = component(LINKED);
        for (at, byte) in changes {
            let at = at.index(component.len());
            component[at] = byte;
        }
        let _ = together(&component);
    }
}
