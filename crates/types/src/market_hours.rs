//! Sessions and holidays: `is_open(pair, at)`.
