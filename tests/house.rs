//! The house itself: its floors, and whether its papers agree.

mod floors;
mod packaging;
mod papers;
