//! Statements over many rows. Row by row costs three times as much (DESIGN section 6), but a statement per number of
//! rows would flood the statement cache: rows go in groups of 16, then 4, then 1.

/// A struct whose fields are columns of the same names, for readers and in jobs. (sqlx's derive would bring its macros and their dependencies.)
macro_rules! from_row {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        struct $name { $($field: $type,)* }

        impl sqlx::FromRow<'_, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }

        impl $crate::store::Read for $name {
            fn read(row: &$crate::store::Row<'_>) -> Result<Self, $crate::store::TxError> {
                Ok(Self { $($field: row.named(stringify!($field))?,)* })
            }
        }
    };
}
pub(crate) use from_row;

/// Cuts `items` into groups of the sizes for which statements are kept.
pub fn groups<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match items.len() {
            0 => return None,
            1..4 => 1,
            4..16 => 4,
            _ => 16,
        };
        let (group, rest) = items.split_at_checked(size)?;
        items = rest;
        Some(group)
    })
}

/// `(?,?,?),(?,?,?)` for so many rows and columns.
pub fn placeholders(rows: usize, columns: usize) -> String {
    repeated(&format!("({})", vec!["?"; columns].join(",")), rows)
}

/// The template so many times, with commas between.
pub fn repeated(template: &str, rows: usize) -> String {
    vec![template; rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::{groups, placeholders};

    #[test]
    fn groups_cover_every_item_once_and_in_order() {
        for length in 0..70 {
            let items: Vec<usize> = (0..length).collect();
            let grouped: Vec<&[usize]> = groups(&items).collect();
            assert_eq!(grouped.concat(), items);
            assert!(grouped.iter().all(|group| [1, 4, 16].contains(&group.len())), "{length}");
        }
        assert_eq!(placeholders(2, 3), "(?,?,?),(?,?,?)");
    }
}
