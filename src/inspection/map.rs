//! The map of the layers: a column for each kind, as wide as its bytes; in it the layers, as high as
//! theirs. Numbers for an SVG, no text.

use super::{KINDS, Layer};

pub(super) const WIDTH: u64 = 1000;
pub(super) const HEIGHT: u64 = 320;

/// So that small layers are visible and can be pointed at.
const LEAST_WIDTH: u64 = 24;
const LEAST_HEIGHT: u64 = 3;

/// A layer's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// Which layer, from the lowest, 0.
    pub(super) layer: usize,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

pub(super) fn cells(layers: &[Layer]) -> Vec<Cell> {
    let columns: Vec<Vec<usize>> = KINDS
        .iter()
        .map(|kind| {
            let all = layers.iter().enumerate();
            all.filter(|(_, layer)| layer.kind == *kind)
                .map(|(index, _)| index)
                .collect::<Vec<usize>>()
        })
        .filter(|column| !column.is_empty())
        .collect();
    let size = |index: &usize| layers[*index].size.max(1);
    let totals: Vec<u64> = columns
        .iter()
        .map(|column| column.iter().map(size).fold(0, u64::saturating_add))
        .collect();
    let mut cells = Vec::new();
    let mut x = 0;
    for (column, width) in columns.iter().zip(shares(&totals, WIDTH, LEAST_WIDTH)) {
        let sizes: Vec<u64> = column.iter().map(size).collect();
        let mut y = 0;
        for (layer, height) in column.iter().zip(shares(&sizes, HEIGHT, LEAST_HEIGHT)) {
            cells.push(Cell {
                layer: *layer,
                x,
                y,
                width,
                height,
            });
            y += height;
        }
        x += width;
    }
    cells
}

/// Divides `room` in proportion to the weights; no part gets less than `least`, if there is room.
fn shares(weights: &[u64], room: u64, least: u64) -> Vec<u64> {
    let count = weights.len() as u64;
    if count == 0 {
        return Vec::new();
    }
    let least = least.min(room / count);
    let free = room - least * count;
    let total = weights
        .iter()
        .map(|weight| u128::from(*weight))
        .sum::<u128>()
        .max(1);
    weights
        .iter()
        .map(|weight| {
            let share = u128::from(*weight) * u128::from(free) / total;
            least + u64::try_from(share).unwrap_or(free)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_room_and_none_is_lost() {
        assert_eq!(shares(&[1, 1], 100, 10), [50, 50]);
        assert_eq!(shares(&[u64::MAX, 1, u64::MAX], 100, 10).len(), 3);
        for weights in [vec![0, 0], vec![1; 500], vec![u64::MAX; 3], vec![]] {
            let sum: u64 = shares(&weights, 320, 3).iter().sum();
            assert!(sum <= 320, "{weights:?}");
        }
    }
}
