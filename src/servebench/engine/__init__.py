"""How one replica serves: step time, KV cache, scheduler. Pure: no clock, no I/O."""
