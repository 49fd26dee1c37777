;; Never gets as far as listing its tools: instantiation itself does not end.
(module
  (memory (export "memory") 4)
  ;; At 1024: result<list<tool>, failure> with the one tool at 1100; its texts are at 2048.
  (data (i32.const 1024) "\00\00\00\00\4c\04\00\00\01\00\00\00")
  (data (i32.const 1100) "\00\08\00\00\06\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\06\08\00\00\17\00\00\00\1d\08\00\00\11\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
  (data (i32.const 2048) "attackDoes what the file says{\"type\":\"object\"}")
  ;; Arguments are laid one behind the other from 64 kB on and never freed: a sandbox serves one call.
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func (export "aih:plugin/tools@1.0.0#list-tools") (result i32) i32.const 1024)
  (func (export "aih:plugin/tools@1.0.0#call-tool")
    (param i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)
    unreachable)
  (func $start (loop $for-ever (br $for-ever)))
  (start $start))
