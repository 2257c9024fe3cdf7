//! What countries ask of an address: whether it has a postcode, what that looks like, and whether it names a state.

/// How postcodes are written, without blanks and hyphens, and where: `#` is a digit, `@` a letter, `*` either; anything else
/// stands for itself. A country with several forms is in several rows.
///
/// After the Universal Postal Union's "Addressing systems" and the postal code data of the Unicode CLDR. A country that is
/// not listed has no postcodes, or none of a fixed form.
const FORMS: &[(&str, &str)] = &[
    ("###", "BH FO IS LS MG OM PG PS TW"),
    (
        "####",
        "AF AL AM AR AT AU AZ BD BE BG BH CC CH CR CV CX CY DK DO GE GL GW HM HT HU LB LI LR LU LV MD MK MZ NE NF NO NZ PH \
         PT PY SI SJ SV TN VE ZA",
    ),
    (
        "#####",
        "AS AX BA BL BT CR CU CZ DE DO DZ EC EE EG EH ES ET FI FM FR GF GP GR GT GU HN HR ID IL IQ IT JO KE KH KR KW LA LK \
         LT MA MC ME MF MH MM MN MP MQ MU MV MX MY NC NI NP PE PF PK PL PM PR PW RE RS SA SE SK SM SN TH TR TW TZ UA US UY VA \
         VI VN WF YT ZM",
    ),
    (
        "######",
        "BY CN CO EC IN KG KH KZ MN NG RO RS RU SG TJ TM TW UZ VN",
    ),
    ("#######", "CL EG IL JP PT"),
    ("########", "BR LB"),
    ("#########", "AS FM GU MH MP PR PW SA US VI"),
    ("##########", "IR"),
    ("@####@@@", "AR"),
    ("@###", "SZ"),
    ("@#@#@#", "CA"),
    ("@##@#@#", "KZ"),
    ("@@##", "BM"),
    ("@@@@", "BM"),
    ("@@####", "BN"),
    ("####@@", "NL"),
    ("@##****", "IE"),
    ("D6W****", "IE"),
    ("@@@##", "MT"),
    ("@@@###", "MT"),
    ("@@@####", "MT"),
    ("@##@@", "GB"),
    ("@###@@", "GB"),
    ("@@##@@", "GB"),
    ("@@###@@", "GB"),
    ("@#@#@@", "GB"),
    ("@@#@#@@", "GB"),
    ("GIR0AA", "GB"),
    ("GY##@@", "GG"),
    ("GY###@@", "GG"),
    ("IM##@@", "IM"),
    ("IM###@@", "IM"),
    ("JE##@@", "JE"),
    ("JE###@@", "JE"),
    ("GX111AA", "GI"),
    ("AD###", "AD"),
    ("AI2640", "AI"),
    ("AX#####", "AX"),
    ("AZ####", "AZ"),
    ("BB#####", "BB"),
    ("HT####", "HT"),
    ("KY#####", "KY"),
    ("L####", "LU"),
    ("LT#####", "LT"),
    ("LV####", "LV"),
    ("MD####", "MD"),
    ("VG####", "VG"),
    ("FIQQ1ZZ", "FK"),
    ("SIQQ1ZZ", "GS"),
    ("BBND1ZZ", "IO"),
    ("PCRN1ZZ", "PN"),
    ("@@@@1ZZ", "SH"),
    ("TKCA1ZZ", "TC"),
];

/// Where an address is incomplete without a postcode.
const REQUIRED: &str = "AS AT AU AX BE BG BR CA CH CN CY CZ DE DK EE ES FI FR GB GF GG GP GR GU HR HU IM IN IT JE JP KR LI LT LU \
     LV MC MP MQ MX MY NC NL NO NZ PF PH PL PM PR PT RE RO RU SE SG SI SJ SK SM TH TR TW UA US VA VI WF YT ZA";

/// Where an address is incomplete without its state or province.
const WITH_REGION: [&str; 4] = ["AU", "BR", "CA", "US"];

/// Whether addresses in `country` need their state or province.
pub(super) fn needs_region(country: &str) -> bool {
    WITH_REGION.contains(&country)
}

/// Whether addresses in `country` need a postcode.
pub(super) fn is_required(country: &str) -> bool {
    REQUIRED.split(' ').any(|listed| listed == country)
}

/// Whether `postcode` has a form that is used in `country`; blanks, hyphens and case don't matter.
pub(super) fn has_form(postcode: &str, country: &str) -> bool {
    let compact: Vec<char> = postcode
        .chars()
        .filter(|character| !character.is_whitespace() && *character != '-')
        .map(|character| character.to_ascii_uppercase())
        .collect();
    let mut forms = forms(country).peekable();
    forms.peek().is_none() || forms.any(|form| matches(&compact, form))
}

/// An example of a postcode of the country, for its messages.
pub(super) fn example(country: &str) -> String {
    let form = forms(country).next().unwrap_or_default();
    let mut digits = ('1'..='9').chain('0'..='9').cycle();
    form.chars()
        .map(|character| match character {
            '#' => digits.next().unwrap_or('1'),
            '@' | '*' => 'A',
            other => other,
        })
        .collect()
}

fn forms(country: &str) -> impl Iterator<Item = &'static str> {
    FORMS
        .iter()
        .filter(move |(_, countries)| countries.split(' ').any(|listed| listed == country))
        .map(|(form, _)| *form)
}

fn matches(compact: &[char], form: &str) -> bool {
    let fits = |(character, form): (&char, char)| match form {
        '#' => character.is_ascii_digit(),
        '@' => character.is_ascii_uppercase(),
        '*' => character.is_ascii_digit() || character.is_ascii_uppercase(),
        other => *character == other,
    };
    compact.len() == form.len() && compact.iter().zip(form.chars()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country;

    #[test]
    fn only_known_countries_are_listed() {
        let listed = FORMS
            .iter()
            .flat_map(|(_, countries)| countries.split_whitespace());
        for code in listed.chain(REQUIRED.split_whitespace()).chain(WITH_REGION) {
            assert!(country::is_known(code), "{code}");
        }
        for code in REQUIRED.split_whitespace() {
            assert!(has_form(&example(code), code), "{code} requires what it has");
        }
    }

    #[test]
    fn postcodes_have_the_form_of_their_country() {
        for (country, postcode) in [
            ("US", "62701"),
            ("US", "62701-1234"),
            ("GB", "SW1Y 4JH"),
            ("GB", "SW1Y4JH"),
            ("GB", "sw1y 4jh"),
            ("GB", "M1 1AE"),
            ("CA", "K1A 0B1"),
            ("DE", "10115"),
            ("NL", "1012 AB"),
            ("PT", "1000-205"),
            ("JP", "100-0001"),
            ("BR", "01310-100"),
            ("AU", "2000"),
            ("IE", "D02 AF30"),
            ("SE", "111 22"),
            ("PL", "00-950"),
            // No form is known.
            ("HK", "anything"),
        ] {
            assert!(has_form(postcode, country), "{country} {postcode}");
        }
        for (country, postcode) in [
            ("AU", "ABCD"),
            ("PT", "hello"),
            ("DE", "1"),
            ("US", "not a zip"),
            ("US", "627011"),
            ("GB", "12345"),
            ("CA", "12345"),
            ("DE", "１０１１５"),
        ] {
            assert!(!has_form(postcode, country), "{country} {postcode}");
        }
    }
}
