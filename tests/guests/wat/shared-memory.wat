;; A component whose memory threads could share: there are none in a sandbox.
(component
  (core module $module
    (memory (export "memory") 1 1 shared)
    (func (export "list-tools") (result i32) i32.const 0))
  (core instance $instance (instantiate $module)))
