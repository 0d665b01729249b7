use super::identity;
