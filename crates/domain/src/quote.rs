//! Totals of a basket: subtotal, tax, shipping and total, in integers throughout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::money::MoneyError;
use super::{Currency, Money};

/// The country that the shop ships from (ISO 3166-1 alpha-2).
pub const HOME_COUNTRY: &str = "US";

/// Heaviest parcel, in grams. Heavier orders are sent in several parcels, each at the flat rate.
pub const PARCEL_LIMIT_GRAMS: u64 = 30_000;

/// Basis points of 100 %.
const BASIS_POINTS: i128 = 10_000;

/// Tax rates on goods by country of delivery, in basis points, sorted by country.
///
/// The standard national rates of value-added, goods-and-services or consumption tax. Reduced rates and regional
/// taxes (the sales taxes of the states of the USA, of the provinces of Canada) are not modelled, and a country that is
/// not listed pays nothing here.
const TAX_BASIS_POINTS: [(&str, u16); 25] = [
    ("AT", 2_000),
    ("AU", 1_000),
    ("BE", 2_100),
    ("CA", 500),
    ("CH", 810),
    ("CZ", 2_100),
    ("DE", 1_900),
    ("DK", 2_500),
    ("ES", 2_100),
    ("FI", 2_550),
    ("FR", 2_000),
    ("GB", 2_000),
    ("GR", 2_400),
    ("HU", 2_700),
    ("IE", 2_300),
    ("IT", 2_200),
    ("JP", 1_000),
    ("LU", 1_700),
    ("NL", 2_100),
    ("NO", 2_500),
    ("NZ", 1_500),
    ("PL", 2_300),
    ("PT", 2_300),
    ("SE", 2_500),
    ("SI", 2_200),
];

/// Of a parcel: its price in minor units of the shop's currency, and fewest and most working days until delivery.
type Zone = (i64, u32, u32);

/// Shipping services: id, carrier, the carrier's name for it, terms within [`HOME_COUNTRY`] and abroad.
const RATES: [(&str, &str, &str, Zone, Zone); 2] = [
    ("standard", "Wayfare Post", "Standard", (499, 3, 5), (1299, 6, 12)),
    (
        "express",
        "Kestrel Couriers",
        "Express",
        (1499, 1, 2),
        (3499, 2, 4),
    ),
];

/// Why a basket has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The total overflows, or the basket mixes currencies.
    #[error("the basket's total can't be computed")]
    Money(#[from] MoneyError),
    /// The weight does not fit 64 bits of grams.
    #[error("the basket is too heavy")]
    Weight,
}

/// A line of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteLine {
    /// Price of one.
    pub unit_price: Money,
    /// How many.
    pub quantity: u32,
    /// Weight of one with its packaging, in grams.
    pub weight_grams: u32,
}

/// A shipping option of a basket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShippingOption {
    /// Its id, which an order names.
    pub id: String,
    /// The carrier.
    pub carrier: String,
    /// The carrier's name for the service.
    pub service: String,
    /// Its price.
    pub price: Money,
    /// Fewest working days until delivery.
    pub min_days: u32,
    /// Most working days until delivery.
    pub max_days: u32,
}

/// Totals of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the lines.
    pub subtotal: Money,
    /// Tax on the goods; shipping is not taxed.
    pub tax: Money,
    /// Price of the shipping option.
    pub shipping: Money,
    /// Sum of the three.
    pub total: Money,
}

/// The options to ship `weight_grams` to `country` (ISO 3166-1 alpha-2), the cheapest first; never empty.
pub fn shipping_options(country: &str, weight_grams: u64) -> Vec<ShippingOption> {
    let parcels = weight_grams.div_ceil(PARCEL_LIMIT_GRAMS).max(1);
    let is_home = country.eq_ignore_ascii_case(HOME_COUNTRY);
    RATES
        .into_iter()
        .map(|(id, carrier, service, home, abroad)| {
            let (price, min_days, max_days) = if is_home { home } else { abroad };
            // Never saturates: 2^64 grams are 6e14 parcels, at 35 dollars each 2e18 cents of the 9e18 that fit.
            let amount = i64::try_from(parcels).unwrap_or(i64::MAX).saturating_mul(price);
            ShippingOption {
                id: id.to_owned(),
                carrier: carrier.to_owned(),
                service: service.to_owned(),
                price: Money::new(amount, Currency::USD),
                min_days,
                max_days,
            }
        })
        .collect()
}

/// The option with this id, as in [`shipping_options`].
pub fn shipping_option(country: &str, weight_grams: u64, id: &str) -> Option<ShippingOption> {
    shipping_options(country, weight_grams)
        .into_iter()
        .find(|option| option.id == id)
}

/// The tax rate on goods delivered to `country` (ISO 3166-1 alpha-2), in basis points.
pub fn tax_basis_points(country: &str) -> u16 {
    TAX_BASIS_POINTS
        .iter()
        .find(|(code, _)| code.eq_ignore_ascii_case(country))
        .map_or(0, |&(_, rate)| rate)
}

/// The tax on `subtotal` delivered to `country`, rounded to the nearest minor unit, halves to the even one (IEEE 754
/// roundTiesToEven, "banker's rounding"): over many orders the errors cancel out.
///
/// # Errors
/// [`QuoteError::Money`] for an overflow, which no rate below 100 % can cause.
pub fn tax(subtotal: Money, country: &str) -> Result<Money, QuoteError> {
    let product = i128::from(subtotal.amount) * i128::from(tax_basis_points(country));
    let whole = product.div_euclid(BASIS_POINTS);
    let up = match (product.rem_euclid(BASIS_POINTS) * 2).cmp(&BASIS_POINTS) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    let amount = i64::try_from(whole + i128::from(up)).map_err(|_| MoneyError::Overflow)?;
    Ok(Money::new(amount, subtotal.currency))
}

/// Sum of the lines. `currency` is the currency of an empty basket.
///
/// # Errors
/// [`QuoteError::Money`] for a sum that overflows or a line in another currency.
pub fn subtotal(lines: &[QuoteLine], currency: Currency) -> Result<Money, QuoteError> {
    lines.iter().try_fold(Money::zero(currency), |sum, line| {
        Ok(sum.plus(line.unit_price.times(line.quantity)?)?)
    })
}

/// Weight of the goods, in grams.
///
/// # Errors
/// [`QuoteError::Weight`] for a sum that overflows.
pub fn weight_grams(lines: &[QuoteLine]) -> Result<u64, QuoteError> {
    lines.iter().try_fold(0_u64, |sum, line| {
        // Two 32-bit factors fit 64 bits.
        sum.checked_add(u64::from(line.weight_grams) * u64::from(line.quantity))
            .ok_or(QuoteError::Weight)
    })
}

/// Totals of the basket, delivered to `country` for the price of `shipping`.
///
/// # Errors
/// [`QuoteError::Money`] for sums that overflow or currencies that differ.
pub fn totals(lines: &[QuoteLine], country: &str, shipping: Money) -> Result<Totals, QuoteError> {
    let subtotal = subtotal(lines, shipping.currency)?;
    let tax = tax(subtotal, country)?;
    Ok(Totals {
        subtotal,
        tax,
        shipping,
        total: subtotal.plus(tax)?.plus(shipping)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dollars(amount: i64) -> Money {
        Money::new(amount, Currency::USD)
    }

    fn line(amount: i64, quantity: u32, weight_grams: u32) -> QuoteLine {
        QuoteLine {
            unit_price: dollars(amount),
            quantity,
            weight_grams,
        }
    }

    fn any_country() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(TAX_BASIS_POINTS.map(|(code, _)| code.to_owned()).to_vec()),
            "[A-Z]{2}",
        ]
    }

    prop_compose! {
        fn any_line()(amount: i64, quantity: u32, weight_grams: u32) -> QuoteLine {
            line(amount, quantity, weight_grams)
        }
    }

    prop_compose! {
        fn sensible_line()(amount in 0..1_000_000_i64, quantity in 1..=999_u32, weight in 0..100_000_u32)
            -> QuoteLine
        {
            line(amount, quantity, weight)
        }
    }

    proptest! {
        #[test]
        fn totals_add_up(
            lines in prop::collection::vec(sensible_line(), 0..100),
            country in any_country(),
            shipping in 0..100_000_i64,
        ) {
            let totals = totals(&lines, &country, dollars(shipping)).unwrap();
            let goods: i64 = lines.iter().map(|line| line.unit_price.amount * i64::from(line.quantity)).sum();
            prop_assert_eq!(totals.subtotal.amount, goods);
            prop_assert_eq!(totals.shipping.amount, shipping);
            prop_assert_eq!(
                totals.total.amount,
                totals.subtotal.amount + totals.tax.amount + totals.shipping.amount
            );
        }

        #[test]
        fn no_input_panics(
            lines in prop::collection::vec(any_line(), 0..20),
            country in any_country(),
            shipping: i64,
            weight: u64,
        ) {
            let exact: i128 = lines.iter()
                .map(|line| i128::from(line.unit_price.amount) * i128::from(line.quantity))
                .sum();
            if let Ok(totals) = totals(&lines, &country, dollars(shipping)) {
                prop_assert_eq!(i128::from(totals.subtotal.amount), exact);
            }
            let grams: u128 = lines.iter().map(|line| u128::from(line.weight_grams) * u128::from(line.quantity)).sum();
            prop_assert_eq!(weight_grams(&lines).ok().map(u128::from), u64::try_from(grams).ok().map(u128::from));
            for option in shipping_options(&country, weight) {
                prop_assert!(option.price.amount > 0 && option.price.amount < i64::MAX);
            }
        }

        #[test]
        fn tax_rounds_to_the_nearest_minor_unit(amount: i64, country in any_country()) {
            let exact = i128::from(amount) * i128::from(tax_basis_points(&country));
            let rounded = i128::from(tax(dollars(amount), &country).unwrap().amount);
            let error = (rounded * BASIS_POINTS - exact).abs() * 2;
            prop_assert!(error <= BASIS_POINTS);
            prop_assert!(error < BASIS_POINTS || rounded % 2 == 0);
        }

        #[test]
        fn a_heavier_basket_never_ships_cheaper(weight in 0..u64::MAX, more in 0..1_000_000_u64, country in any_country()) {
            let light = shipping_options(&country, weight);
            let heavy = shipping_options(&country, weight.saturating_add(more));
            for (light, heavy) in light.iter().zip(&heavy) {
                prop_assert!(light.price.amount <= heavy.price.amount);
            }
        }
    }

    #[test]
    fn halves_round_to_even() {
        // 25 %: 2 cents owe half a cent, 6 cents one and a half, 10 cents two and a half.
        for (amount, expected) in [
            (2, 0),
            (6, 2),
            (10, 2),
            (14, 4),
            (-2, 0),
            (-6, -2),
            (4, 1),
            (5, 1),
            (7, 2),
        ] {
            assert_eq!(tax(dollars(amount), "SE"), Ok(dollars(expected)), "{amount}");
        }
        assert_eq!(tax(dollars(199), "de"), Ok(dollars(38)));
        assert_eq!(tax(dollars(199), HOME_COUNTRY), Ok(dollars(0)));
    }

    #[test]
    fn every_country_has_one_valid_rate() {
        assert!(TAX_BASIS_POINTS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(TAX_BASIS_POINTS.iter().all(|&(_, rate)| rate < 10_000));
    }

    #[test]
    fn overflows_are_errors() {
        assert_eq!(
            totals(&[line(i64::MAX, 2, 0)], "US", dollars(0)),
            Err(QuoteError::Money(MoneyError::Overflow))
        );
        assert_eq!(
            totals(&[line(i64::MAX, 1, 0)], "US", dollars(1)),
            Err(QuoteError::Money(MoneyError::Overflow))
        );
        let euro = Money::zero(Currency::parse("EUR").unwrap());
        assert_eq!(
            totals(&[line(1, 1, 0)], "DE", euro),
            Err(QuoteError::Money(MoneyError::CurrencyMismatch))
        );
        let heavy = line(1, u32::MAX, u32::MAX);
        assert_eq!(weight_grams(&[heavy, heavy]), Err(QuoteError::Weight));
    }

    #[test]
    fn heavy_baskets_ship_in_several_parcels() {
        let light = shipping_options("US", 0);
        assert_eq!(
            light.iter().map(|option| option.id.as_str()).collect::<Vec<_>>(),
            ["standard", "express"]
        );
        let standard = |country, weight| shipping_option(country, weight, "standard").unwrap().price.amount;
        assert_eq!(standard("US", PARCEL_LIMIT_GRAMS), light[0].price.amount);
        assert_eq!(standard("US", PARCEL_LIMIT_GRAMS + 1), 2 * light[0].price.amount);
        assert!(standard("NZ", 1) > standard("us", 1));
        assert_eq!(shipping_option("US", 1, "pigeon"), None);
    }
}
