import { defineHook } from "aih-plugin";

defineHook(() => undefined);
