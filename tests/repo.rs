//! Checks of the repository: its layers, and the consistency of its documents.

mod dev;
mod layers;
mod messages;
mod options;
mod packaging;
mod documents;
mod security;
