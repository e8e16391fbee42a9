//! Colours of groups that have an order, such as years.
//!
//! They are those of matplotlib's plasma, whose lightness only grows, so that they are told apart with any sight. Of the
//! scale each background gets the part that stands out from it by 3 to 1 or more.

/// Plasma at nine even steps.
const PLASMA: [[f64; 3]; 9] = [
    [13.0, 8.0, 135.0],
    [76.0, 2.0, 161.0],
    [126.0, 3.0, 168.0],
    [169.0, 35.0, 149.0],
    [204.0, 71.0, 120.0],
    [229.0, 107.0, 93.0],
    [248.0, 148.0, 65.0],
    [253.0, 195.0, 40.0],
    [240.0, 249.0, 33.0],
];

/// The part for a light background.
const ON_LIGHT: [f64; 2] = [0.02, 0.62];
/// The part for a dark background.
const ON_DARK: [f64; 2] = [0.46, 0.98];

/// The colours of group `index` of `groups`, on a light and on a dark background, as CSS has them.
pub fn colours(index: usize, groups: usize) -> [String; 2] {
    let at = if groups > 1 { index as f64 / (groups - 1) as f64 } else { 0.5 };
    [ON_LIGHT, ON_DARK].map(|[from, to]| hex(plasma(from + at * (to - from))))
}

fn plasma(at: f64) -> [f64; 3] {
    let place = at.clamp(0.0, 1.0) * (PLASMA.len() - 1) as f64;
    let below = (place.floor() as usize).min(PLASMA.len() - 2);
    let part = place - below as f64;
    std::array::from_fn(|channel| PLASMA[below][channel] * (1.0 - part) + PLASMA[below + 1][channel] * part)
}

fn hex([red, green, blue]: [f64; 3]) -> String {
    format!("#{:02x}{:02x}{:02x}", red.round() as u8, green.round() as u8, blue.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG 2 has it.
    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn every_colour_stands_out_from_its_background() {
        for index in 0..30 {
            let [light, dark] = colours(index, 30);
            assert!(contrast(&light, "#ffffff") >= 3.0, "{light} on light: {}", contrast(&light, "#ffffff"));
            assert!(contrast(&dark, "#1b2128") >= 3.0, "{dark} on dark: {}", contrast(&dark, "#1b2128"));
        }
    }

    #[test]
    fn lightness_tells_the_order() {
        let lights: Vec<f64> = (0..30).map(|index| luminance(&colours(index, 30)[0])).collect();
        assert!(lights.is_sorted());
        assert_eq!(colours(0, 1), colours(1, 3));
    }
}
