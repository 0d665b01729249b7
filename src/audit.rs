//! What happened, in a hash-chained log: one event enum, one chain per writer, signed checkpoints.
