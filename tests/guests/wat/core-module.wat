;; No component: a module as compilers wrote them before there were components.
(module
  (memory (export "memory") 1)
  (func (export "_start")))
