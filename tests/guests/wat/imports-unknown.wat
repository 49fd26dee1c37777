;; A component that wants more than there is.
(component
  (import "aih:host/root-shell@1.0.0" (instance
    (export "run" (func (param "command" string) (result string))))))
