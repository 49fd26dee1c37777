;; A component that is valid and of no use.
(component)
