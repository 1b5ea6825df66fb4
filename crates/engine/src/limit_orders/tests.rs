//! Levels, the index of levels, and how much a bracket closes.
