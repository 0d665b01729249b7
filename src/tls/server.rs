//! What a listener shows: certificates chosen by SNI; and whose client certificates it takes.
