//! The house itself: its floors, and whether its papers agree.

mod layers;
mod options;
mod packaging;
mod documents;
mod security;
