//! The example plugins of the repository, called by a real client.
