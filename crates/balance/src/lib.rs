//! Load samples, decayed heat, the view of the group, the disproportion test and decide().
