//! The shell around the cores of the network between nodes.
