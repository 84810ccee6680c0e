//! The house itself: its floors, and whether its papers agree.

mod floors;
mod options;
mod packaging;
mod papers;
mod security;
