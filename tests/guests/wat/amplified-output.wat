;; 2.4 MB of memory that say 64 GB: 65,536 blocks of text, each the same megabyte of zeros.
(module
  (memory (export "memory") 40)
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
    (local $block i32)
    ;; The blocks, 20 bytes each (what kind, pointer, length), from 1,200,000 on; the text is what is before.
    (local.set $block (i32.const 1200000))
    (loop $more
      (i32.store offset=4 (local.get $block) (i32.const 131072))
      (i32.store offset=8 (local.get $block) (i32.const 1048576))
      (local.set $block (i32.add (local.get $block) (i32.const 20)))
      (br_if $more (i32.lt_u (local.get $block) (i32.const 2510720))))
    ;; At 3072: result<output, failure> with nothing but these blocks.
    (i32.store (i32.const 3076) (i32.const 1200000))
    (i32.store (i32.const 3080) (i32.const 65536))
    i32.const 3072))
