;; A component for a later hub: the major version of what it exports is not ours.
(component
  (core module $module
    (func (export "list-tools") (result i32) i32.const 0))
  (core instance $instance (instantiate $module))
  (func $list-tools (result u32) (canon lift (core func $instance "list-tools")))
  (instance $tools (export "list-tools" (func $list-tools)))
  (export "aih:plugin/tools@2.0.0" (instance $tools)))
