//! What the pictures show: one simple drawing for each kind of thing.
//!
//! Each stands on a floor at y = 415 around x = 300 and is outlined in ink. `$m` is the thing's colour, `$l` and `$d`
//! the same lighter and darker, `$a` the second colour, `$w` the wall's.

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Figure {
    Backpack,
    Blanket,
    Blocks,
    BoardGame,
    Book,
    Boot,
    Bottle,
    Candle,
    Clock,
    CoffeePress,
    Cookbook,
    Cushion,
    Glass,
    Hat,
    Headlamp,
    Headphones,
    Jacket,
    Jumper,
    Kettle,
    Keyboard,
    Knife,
    Mug,
    Notebook,
    Pan,
    Parcel,
    Pen,
    PendantLamp,
    Planter,
    Plate,
    PowerBank,
    Puzzle,
    Shirt,
    SleepingBag,
    Sock,
    Speaker,
    Suitcase,
    TShirt,
    TableLamp,
    Tent,
    Trainer,
    Trousers,
    Trowel,
    Vase,
    WateringCan,
}

impl Figure {
    /// Its shapes, as SVG.
    pub(super) const fn shapes(self) -> &'static str {
        match self {
            Self::Backpack => {
                r##"<path d="M262 130q0-48 38-48t38 48" fill="none" stroke-width="12"/><path d="M205 220q0-100 95-100t95 100v170q0 25-25 25H230q-25 0-25-25z" fill="$m"/><path d="M185 270h20v120h-10q-18 0-18-18v-84zM415 270h-20v120h10q18 0 18-18v-84z" fill="$d"/><path d="M235 300h130v85q0 12-12 12H247q-12 0-12-12z" fill="$l"/><path d="M235 325h130M225 215q75 30 150 0" fill="none"/><path d="M290 320h20v34h-20z" fill="$a"/>"##
            }
            Self::Blanket => {
                r##"<path d="M170 330h260v70H170z" fill="$d"/><path d="M170 265h260q22 0 22 32t-22 33H170q-18-32 0-65z" fill="$m"/><path d="M170 200h260q22 0 22 32t-22 33H170q-18-32 0-65z" fill="$l"/><path d="M250 200v65M280 200v65M340 200v65M370 200v65" stroke="$a" stroke-width="9"/><path d="M180 400v15M210 400v15M240 400v15M270 400v15M300 400v15M330 400v15M360 400v15M390 400v15M420 400v15"/>"##
            }
            Self::Blocks => {
                r##"<path d="M165 305h110v110H165z" fill="$m"/><path d="M325 305h110v110H325z" fill="$l"/><path d="M245 195h110v110H245z" fill="$a"/><path d="M235 195l65-95 65 95z" fill="$d"/><circle cx="220" cy="360" r="28" fill="$l"/><path d="M355 385l25-50 25 50z" fill="$m"/><path d="M278 228h44v44h-44z" fill="$l"/>"##
            }
            Self::BoardGame => {
                r##"<path d="M130 415l60-120h220l60 120z" fill="$l"/><path d="M160 355h280M263 295l-25 120M337 295l25 120"/><path d="M163 350l27-55h74l-13 55zM250 358h100l12 54H238zM349 350l-12-55h73l27 55z" fill="$m"/><path d="M215 345q12-60 18-82h34q6 22 18 82z" fill="$a"/><circle cx="250" cy="238" r="32" fill="$a"/><path d="M330 220l70-18 18 70-70 18z" fill="$w"/><circle cx="374" cy="246" r="6"/><circle cx="350" cy="232" r="6"/><circle cx="398" cy="260" r="6"/>"##
            }
            Self::Book => {
                r##"<path d="M195 110h195q15 0 15 15v245H210q-25 0-25 22V125q0-15 10-15z" fill="$m"/><path d="M405 370v45H210q-25 0-25-22t25-23z" fill="$w"/><path d="M215 392h190"/><path d="M215 110v260" stroke-width="4"/><path d="M250 160h120v70H250z" fill="$l"/><path d="M268 182h84M282 206h56"/><path d="M310 270l14 28 30 4-22 21 5 30-27-14-27 14 5-30-22-21 30-4z" fill="$a"/>"##
            }
            Self::Boot => {
                r##"<path d="M215 115h115v135q15 45 75 58 45 12 45 72H215z" fill="$m"/><path d="M205 375h250v25q0 15-15 15H220q-15 0-15-15z" fill="$d"/><path d="M210 105h125v38H210z" fill="$l"/><path d="M330 250q-40 25-70 70M290 175h40M290 205h40M292 235h38" fill="none"/><path d="M330 250q15 45 75 58" stroke="$a" stroke-width="8" fill="none"/>"##
            }
            Self::Bottle => {
                r##"<path d="M270 100h60v40h-60z" fill="$a"/><path d="M262 140h76v25q42 22 42 65v160q0 25-25 25H245q-25 0-25-25V230q0-43 42-65z" fill="$m"/><path d="M220 265h160v65H220z" fill="$l"/><path d="M262 165h76M250 360v25" fill="none"/><path d="M285 100q0-28 15-28t15 28" fill="none" stroke-width="8"/>"##
            }
            Self::Candle => {
                r##"<path d="M300 90q38 45 0 84-38-39 0-84z" fill="#f0b93a"/><path d="M300 165v40"/><path d="M225 215q75-25 150 0v175q0 25-25 25H250q-25 0-25-25z" fill="$l"/><ellipse cx="300" cy="212" rx="75" ry="18" fill="$w"/><path d="M225 275h150v85H225z" fill="$m"/><path d="M255 305h90M270 330h60" stroke="$l"/><path d="M300 175v37"/>"##
            }
            Self::Clock => {
                r##"<circle cx="300" cy="250" r="160" fill="$m"/><circle cx="300" cy="250" r="128" fill="$w"/><path d="M300 135v24M300 341v24M185 250h24M391 250h24M243 150l8 14M357 150l-8 14M243 350l8-14M357 350l-8-14M200 193l14 8M400 193l-14 8M200 307l14-8M400 307l-14-8"/><path d="M300 250v-72M300 250l58 34" stroke-width="11"/><path d="M300 250l-38 76" stroke="$a" stroke-width="6"/><circle cx="300" cy="250" r="10" fill="$a"/>"##
            }
            Self::CoffeePress => {
                r##"<path d="M300 85v70" stroke-width="9"/><circle cx="300" cy="85" r="15" fill="$a"/><path d="M220 165q80-45 160 0z" fill="$m"/><path d="M380 200h55v150h-55" fill="none" stroke-width="16"/><path d="M220 165h160v235H220z" fill="$w"/><path d="M222 270h156v128H222z" fill="#6b4632"/><path d="M228 255h144v16H228z" fill="$d"/><path d="M300 165v90"/><path d="M212 165h176v24H212zM212 385h176v30H212z" fill="$m"/><path d="M240 205v150" stroke="$l" stroke-width="9"/>"##
            }
            Self::Cookbook => {
                r##"<path d="M185 105h215q12 0 12 12v298H185z" fill="$m"/><path d="M185 105h32v310h-32z" fill="$d"/><path d="M262 270q-32 0-32-30t34-30q8-34 50-34t50 34q34 0 34 30t-32 30v58H262z" fill="$w"/><path d="M262 305h104"/><path d="M250 365h128" stroke="$a" stroke-width="12"/><path d="M350 105v-22h30v22" fill="$a"/>"##
            }
            Self::Cushion => {
                r##"<path d="M165 155q135 38 270 0 32-8 22 28-38 105 0 200 10 34-22 26-135-36-270 0-32 8-22-26 38-95 0-200-10-36 22-28z" fill="$m"/><path d="M222 205q78 22 156 0-22 75 0 150-78-22-156 0 22-75 0-150z" fill="$l"/><circle cx="300" cy="280" r="15" fill="$a"/>"##
            }
            Self::Glass => {
                r##"<path d="M160 190h120l-18 225h-84z" fill="$w"/><path d="M167 280h106l-11 133h-84z" fill="$l"/><path d="M325 105h120q8 130-60 135-68-5-60-135z" fill="$w"/><path d="M326 155h118q-4 80-59 83-55-3-59-83z" fill="$m"/><path d="M385 240v160" stroke-width="9"/><path d="M335 415q0-18 50-18t50 18z" fill="$w"/><path d="M190 215l8 90M345 125v35" stroke="$w" stroke-width="8"/>"##
            }
            Self::Hat => {
                r##"<circle cx="300" cy="118" r="36" fill="$a"/><path d="M180 330q-10-185 120-185t120 185z" fill="$m"/><path d="M240 320q-10-110 30-168M360 320q10-110-30-168M300 320V150" fill="none" stroke="$d"/><path d="M165 320h270q15 0 15 15v50q0 15-15 15H165q-15 0-15-15v-50q0-15 15-15z" fill="$l"/><path d="M195 325v70M235 325v70M275 325v70M315 325v70M355 325v70M395 325v70"/>"##
            }
            Self::Headlamp => {
                r##"<path d="M150 235q0-110 150-110t150 110v50q0-60-150-60t-150 60z" fill="$d"/><path d="M185 215q115-50 230 0" fill="none" stroke="$a" stroke-width="8"/><path d="M225 225h150q20 0 20 20v80q0 20-20 20H225q-20 0-20-20v-80q0-20 20-20z" fill="$m"/><circle cx="300" cy="285" r="48" fill="$l"/><circle cx="300" cy="285" r="27" fill="#fff3c4"/><path d="M300 365v40M245 358l-22 34M355 358l22 34" stroke="$a" stroke-width="9"/><circle cx="370" cy="252" r="6" fill="$a"/>"##
            }
            Self::Headphones => {
                r##"<path d="M170 305v-45q0-135 130-135t130 135v45" fill="none" stroke-width="40"/><path d="M170 305v-45q0-135 130-135t130 135v45" fill="none" stroke="$m" stroke-width="30"/><path d="M150 280h50q12 0 12 12v98q0 12-12 12h-50q-27 0-27-61t27-61zM450 280h-50q-12 0-12 12v98q0 12 12 12h50q27 0 27-61t-27-61z" fill="$l"/><path d="M212 300q28 0 28 41t-28 41zM388 300q-28 0-28 41t28 41z" fill="$d"/><circle cx="160" cy="341" r="14" fill="$a"/><circle cx="440" cy="341" r="14" fill="$a"/>"##
            }
            Self::Jacket => {
                r##"<path d="M235 115l-65 40-50 190 55 18 30-100v150h190V263l30 100 55-18-50-190-65-40z" fill="$m"/><path d="M235 115h130l-25 55h-80z" fill="$d"/><path d="M300 170v243" stroke="$a" stroke-width="9"/><path d="M225 315h50v60h-50zM325 315h50v60h-50z" fill="$l"/><path d="M225 330h50M325 330h50M205 263v-55M395 263v-55M235 225h40" fill="none"/>"##
            }
            Self::Jumper => {
                r##"<path d="M240 115l-75 40-45 190 58 18 27-95v145h190V268l27 95 58-18-45-190-75-40q-60 40-120 0z" fill="$m"/><path d="M236 112q64 45 128 0l-8 32q-56 36-112 0z" fill="$l"/><path d="M205 388h190v27H205zM127 320l58 18-7 26-58-18zM473 320l-58 18 7 26 58-18z" fill="$l"/><path d="M205 235l32-28 31 28 32-28 32 28 31-28 32 28M205 265l32-28 31 28 32-28 32 28 31-28 32 28" fill="none" stroke="$a" stroke-width="7"/>"##
            }
            Self::Kettle => {
                r##"<path d="M215 215q0-110 85-110t85 110" fill="none" stroke="$a" stroke-width="16"/><path d="M390 290q60-8 75-80l20 5q-5 120-95 150z" fill="$d"/><path d="M200 260q0-55 100-55t100 55l22 130q0 25-25 25H203q-25 0-25-25z" fill="$m"/><path d="M232 213q68-38 136 0z" fill="$l"/><circle cx="300" cy="180" r="14" fill="$a"/><path d="M215 285l-10 85" stroke="$l" stroke-width="12"/>"##
            }
            Self::Keyboard => {
                r##"<path d="M125 210h350q20 0 20 20v155q0 20-20 20H125q-20 0-20-20V230q0-20 20-20z" fill="$m"/><path d="M128 235h36v32h-36zM176 235h36v32h-36zM224 235h36v32h-36zM272 235h36v32h-36zM320 235h36v32h-36zM368 235h36v32h-36zM128 280h52v32h-52zM192 280h36v32h-36zM240 280h36v32h-36zM288 280h36v32h-36zM336 280h36v32h-36zM384 280h36v32h-36zM128 325h36v32h-36zM176 325h36v32h-36zM400 325h72v32h-72z" fill="$l"/><path d="M224 325h164v32H224zM416 235h56v32h-56zM432 280h40v32h-40z" fill="$a"/><path d="M300 210q0-60 70-60" fill="none"/>"##
            }
            Self::Knife => {
                r##"<path d="M150 345h300q18 0 18 18v34q0 18-18 18H150q-18 0-18-18v-34q0-18 18-18z" fill="$a"/><path d="M150 375h170M350 390h95" opacity=".4"/><path d="M345 250L130 240q60 80 215 65z" fill="#e4e7ea"/><path d="M160 252l180 6" stroke="#ffffff"/><path d="M345 245h22v65h-22z" fill="$d"/><path d="M367 248h100q22 0 22 24t-22 30H367z" fill="$m"/><circle cx="395" cy="275" r="5"/><circle cx="425" cy="275" r="5"/><circle cx="455" cy="275" r="5"/>"##
            }
            Self::Mug => {
                r##"<path d="M380 225h30q50 0 50 52t-50 53h-30" fill="none" stroke-width="34"/><path d="M380 225h30q50 0 50 52t-50 53h-30" fill="none" stroke="$m" stroke-width="24"/><path d="M185 180h205v185q0 50-50 50H235q-50 0-50-50z" fill="$m"/><path d="M187 300h201v45H187z" fill="$l"/><ellipse cx="287" cy="182" rx="102" ry="20" fill="$d"/><path d="M250 140q-20-22 0-44t0-40M325 140q-20-22 0-44t0-40" fill="none" stroke="$a" stroke-width="8"/>"##
            }
            Self::Notebook => {
                r##"<path d="M205 110h200q14 0 14 14v277q0 14-14 14H205z" fill="$w"/><path d="M195 105h195q14 0 14 14v277q0 14-14 14H195z" fill="$m"/><path d="M360 105v305" stroke="$a" stroke-width="13"/><path d="M235 160h90v55h-90z" fill="$l"/><path d="M250 180h60M250 197h40"/><path d="M180 140h34M180 190h34M180 240h34M180 290h34M180 340h34M180 380h34" stroke-width="9"/>"##
            }
            Self::Pan => {
                r##"<path d="M385 290l105-62 16 26-112 74z" fill="$a"/><ellipse cx="265" cy="315" rx="155" ry="72" fill="$d"/><path d="M110 315q8 100 155 100t155-100z" fill="$m"/><ellipse cx="265" cy="312" rx="155" ry="66" fill="$m"/><ellipse cx="265" cy="312" rx="128" ry="48" fill="$d"/><path d="M215 305q5-32 50-28 70-2 68 30-5 32-60 28-60 2-58-30z" fill="#fdfbf4"/><circle cx="272" cy="305" r="19" fill="#f0b93a"/><path d="M190 220q-18-20 0-40t0-36M265 210q-18-20 0-40t0-36M340 220q-18-20 0-40t0-36" fill="none" stroke="$l" stroke-width="8"/>"##
            }
            Self::Parcel => {
                r##"<path d="M160 215l140-60 140 60-140 60z" fill="$l"/><path d="M160 215l140 60v140l-140-60z" fill="$m"/><path d="M440 215l-140 60v140l140-60z" fill="$d"/><path d="M215 192l140 60v50l28-12v-50l-140-60z" fill="$a"/>"##
            }
            Self::Pen => {
                r##"<path d="M150 400q70-28 110 0t90-8 90 0" fill="none" stroke="$a" stroke-width="7"/><path d="M190 340l-30 60 62-28z" fill="#d9c06a"/><path d="M190 340L355 120l40 30-173 222z" fill="$m"/><path d="M355 120l22-28q12-12 28 0t10 30l-20 28z" fill="$d"/><path d="M235 280l40 31" stroke="$l" stroke-width="12"/><path d="M385 110l30 22-60 82" fill="none" stroke="$a" stroke-width="9"/>"##
            }
            Self::PendantLamp => {
                r##"<path d="M300 40v100"/><path d="M275 140h50v35h-50z" fill="$a"/><path d="M150 310q0-135 150-135t150 135z" fill="$m"/><path d="M195 285q10-75 70-90" fill="none" stroke="$l" stroke-width="12"/><ellipse cx="300" cy="310" rx="150" ry="22" fill="$d"/><circle cx="300" cy="322" r="30" fill="#fff3c4"/><path d="M300 372v34M240 362l-18 32M360 362l18 32" stroke="$a" stroke-width="8"/>"##
            }
            Self::Planter => {
                r##"<path d="M300 270Q285 170 300 90q60 80 0 180z" fill="#6f9a62"/><path d="M300 270q-95-20-120-130 105 10 120 130zM300 270q95-20 120-130-105 10-120 130z" fill="#86b077"/><path d="M300 270V140M300 270q-40-60-85-95M300 270q40-60 85-95" fill="none"/><path d="M195 305h210l-25 110H220z" fill="$m"/><path d="M180 262h240v48H180z" fill="$l"/><path d="M215 345h168" stroke="$a" stroke-width="11"/>"##
            }
            Self::Plate => {
                r##"<ellipse cx="300" cy="275" rx="150" ry="140" fill="$m"/><ellipse cx="300" cy="275" rx="118" ry="110" fill="$l"/><ellipse cx="300" cy="275" rx="86" ry="80" fill="$w"/><path d="M110 150v75q0 20 14 20v160M92 150v60M128 150v60M92 210q0 35 32 35" fill="none" stroke-width="9"/><path d="M478 405V150q35 30 30 130h-30" fill="#e4e7ea"/><path d="M265 290q35-50 70 0" fill="none" stroke="$a" stroke-width="8"/>"##
            }
            Self::PowerBank => {
                r##"<path d="M225 130h150q25 0 25 25v235q0 25-25 25H225q-25 0-25-25V155q0-25 25-25z" fill="$m"/><path d="M200 200h200M260 155h30v16h-30zM315 155h20v16h-20z" fill="$w"/><path d="M318 225l-58 85h38l-16 70 60-92h-40z" fill="$a"/><circle cx="232" cy="392" r="6" fill="$l"/><circle cx="255" cy="392" r="6" fill="$l"/><circle cx="278" cy="392" r="6" fill="$l"/><path d="M275 130V95q0-30 35-30h85q30 0 30 30v50" fill="none" stroke-width="9"/><path d="M412 145h26v36h-26z" fill="$d"/>"##
            }
            Self::Puzzle => {
                r##"<path d="M160 150h115q-14 42 25 42t25-42h115v115q-42-14-42 25t42 25v100H325q14-42-25-42t-25 42H160V315q42 14 42-25t-42-25z" fill="$m"/><path d="M300 192v181M202 290h196" stroke="$l" stroke-width="4"/><path d="M230 210h25M345 350h25" stroke="$a" stroke-width="12"/><circle cx="240" cy="340" r="20" fill="$a"/><path d="M340 250l25-45 25 45z" fill="$l"/>"##
            }
            Self::Shirt => {
                r##"<path d="M240 110l-75 38-45 195 55 18 30-95v149h190V266l30 95 55-18-45-195-75-38z" fill="$m"/><path d="M240 110l60 38-34 42-42-66zM360 110l-60 38 34 42 42-66z" fill="$l"/><path d="M300 148v267"/><circle cx="314" cy="215" r="5" fill="$a"/><circle cx="314" cy="265" r="5" fill="$a"/><circle cx="314" cy="315" r="5" fill="$a"/><circle cx="314" cy="365" r="5" fill="$a"/><path d="M330 225h45v45q-22 14-45 0z" fill="$l"/>"##
            }
            Self::SleepingBag => {
                r##"<path d="M125 300q0-45 60-50l230-30q75 0 75 95t-75 95l-230-8q-60-5-60-52z" fill="$m"/><path d="M375 225q-30 85 0 183l40 2q75 0 75-95t-75-95z" fill="$l"/><ellipse cx="432" cy="315" rx="34" ry="62" fill="$d"/><path d="M185 252q-22 70 0 148M250 242q-25 80 0 162M315 233q-28 85 0 173" fill="none"/><path d="M140 330h235" stroke="$a" stroke-width="8"/>"##
            }
            Self::Sock => {
                r##"<path d="M235 105h105v165q0 25 20 40l62 42q22 18 8 42-14 21-40 21h-70q-35 0-62-32-23-28-23-68z" fill="$m"/><path d="M230 95h115v48H230z" fill="$l"/><path d="M238 178h100M238 212h100" stroke="$a" stroke-width="13"/><path d="M236 300q55-8 62 45 0 45-28 52-35-37-34-97zM385 327l37 25q22 18 8 42-12 20-36 21-40-30-9-88z" fill="$d"/><path d="M255 97v44M280 97v44M305 97v44M328 97v44"/>"##
            }
            Self::Speaker => {
                r##"<path d="M215 95h170q20 0 20 20v280q0 20-20 20H215q-20 0-20-20V115q0-20 20-20z" fill="$m"/><circle cx="300" cy="175" r="42" fill="$l"/><circle cx="300" cy="175" r="16" fill="$d"/><circle cx="300" cy="310" r="78" fill="$l"/><circle cx="300" cy="310" r="52" fill="$d"/><circle cx="300" cy="310" r="18" fill="$a"/><path d="M440 270q28 40 0 80M470 245q48 65 0 130" fill="none" stroke="$a" stroke-width="8"/>"##
            }
            Self::Suitcase => {
                r##"<path d="M260 160V85h80v75" fill="none" stroke-width="11"/><path d="M210 160h180q22 0 22 22v195q0 22-22 22H210q-22 0-22-22V182q0-22 22-22z" fill="$m"/><path d="M228 160h24v239h-24zM348 160h24v239h-24z" fill="$d"/><path d="M275 200v160M300 200v160M325 200v160" stroke="$l"/><circle cx="228" cy="406" r="14" fill="$a"/><circle cx="372" cy="406" r="14" fill="$a"/><path d="M280 160h40v20h-40z" fill="$a"/>"##
            }
            Self::TShirt => {
                r##"<path d="M235 120l-115 65 38 80 47-20v170h190V245l47 20 38-80-115-65q-65 50-130 0z" fill="$m"/><path d="M235 120q65 50 130 0l-12 26q-53 35-106 0z" fill="$l"/><path d="M205 245v-50M395 245v-50"/><circle cx="300" cy="265" r="36" fill="$a"/><path d="M264 272q36-24 72 0" fill="none"/>"##
            }
            Self::TableLamp => {
                r##"<path d="M235 100h130l60 140H175z" fill="$m"/><path d="M250 125l-40 95" stroke="$l" stroke-width="12"/><path d="M290 240h20v40h-20z" fill="$a"/><path d="M300 275q55 45 22 115h-44q-33-70 22-115z" fill="$d"/><path d="M230 415q0-27 70-27t70 27z" fill="$a"/><path d="M350 240v60" fill="none"/><circle cx="350" cy="306" r="6" fill="$a"/>"##
            }
            Self::Tent => {
                r##"<path d="M300 130L110 410h380z" fill="$m"/><path d="M300 130l95 280h95z" fill="$d"/><path d="M300 185l-78 225h156z" fill="$l"/><path d="M300 185v225l-78 0z" fill="#3b3a3f" opacity=".75"/><path d="M300 130l-14-24M300 130l14-24M110 410l-28 5M490 410l28 5"/><path d="M314 106l34 12-34 14z" fill="$a"/>"##
            }
            Self::Trainer => {
                r##"<path d="M140 240q35 22 70-8l32-22q52 85 138 102 85 10 85 68H135z" fill="$m"/><path d="M130 375h340v14q0 26-26 26H156q-26 0-26-26z" fill="$w"/><path d="M385 314q80 12 80 62h-92q-12-36 12-62z" fill="$l"/><path d="M240 290l42-30M262 312l42-32M288 330l38-28"/><path d="M150 345q70 14 110-45l34 30q-40 50-130 48z" fill="$a"/><path d="M180 415v-14M230 415v-14M280 415v-14M330 415v-14M380 415v-14"/>"##
            }
            Self::Trousers => {
                r##"<path d="M215 95h170l28 320h-85l-28-205-28 205h-85z" fill="$m"/><path d="M212 95h176l4 38H208z" fill="$d"/><path d="M300 133v77M222 140q4 45-18 58M378 140q-4 45 18 58" fill="none"/><path d="M186 388h87l-3 27h-83zM414 388h-87l3 27h83z" fill="$l"/><circle cx="300" cy="114" r="8" fill="$a"/><path d="M240 95v38M360 95v38"/>"##
            }
            Self::Trowel => {
                r##"<path d="M270 60h60q10 0 10 12l-8 118h-64l-8-118q0-12 10-12z" fill="$a"/><path d="M268 165h64v25h-64z" fill="$d"/><path d="M290 190h20v45h-20z" fill="#b9bec4"/><path d="M230 250q0-22 70-22t70 22q14 105-70 165-84-60-70-165z" fill="$m"/><path d="M300 250v120" stroke="$l" stroke-width="9"/><path d="M160 412q30-26 70-18M440 412q-30-26-70-18" fill="none"/>"##
            }
            Self::Vase => {
                r##"<path d="M300 190Q290 120 255 80M300 190V70M300 190q10-60 50-100" fill="none"/><circle cx="250" cy="75" r="26" fill="$a"/><circle cx="300" cy="58" r="26" fill="$l"/><circle cx="354" cy="84" r="26" fill="$a"/><path d="M265 180h70v35q62 45 62 112 0 60-52 88h-90q-52-28-52-88 0-67 62-112z" fill="$m"/><path d="M210 300q90 32 180 0v40q-90 32-180 0z" fill="$l"/><path d="M258 172h84v18h-84z" fill="$d"/>"##
            }
            Self::WateringCan => {
                r##"<path d="M215 265q-70-100 35-125 90-10 118 95" fill="none" stroke="$a" stroke-width="15"/><path d="M375 335l75-145 22 12-62 190h-35z" fill="$d"/><path d="M432 165l62 32-14 22-62-32z" fill="$a"/><path d="M195 250h190v140q0 25-25 25H220q-25 0-25-25z" fill="$m"/><ellipse cx="290" cy="250" rx="95" ry="22" fill="$l"/><path d="M195 345h190" stroke="$l" stroke-width="11"/><path d="M500 235l8 24M520 215l12 22M488 262l6 22" stroke="#6ea5c9" stroke-width="7"/>"##
            }
        }
    }
}
