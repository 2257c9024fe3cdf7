//! The statements of the users store, as SQLite and PostgreSQL understand them.

pub(super) const CREATE: &str = "INSERT INTO users \
         (id, email_key, email, name, phone, roles, email_verified, created_at, version, credential) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
pub(super) const WHOSE: &str = "SELECT id FROM users WHERE email_key = ?1";
pub(super) const BY_ID: &str = "SELECT id, email, name, phone, roles, email_verified, created_at, version, credential \
     FROM users WHERE id = ?1";
pub(super) const BY_EMAIL: &str = "SELECT id, email, name, phone, roles, email_verified, created_at, version, credential \
     FROM users WHERE email_key = ?1";
pub(super) const UPDATE: &str = "UPDATE users SET email = ?4, name = ?5, phone = ?6, roles = ?7, email_verified = ?8, \
         version = ?2 + 1, credential = coalesce(?9, credential) \
     WHERE id = ?1 AND version = ?2 AND email_key = ?3 RETURNING version";
pub(super) const KEY: &str = "SELECT email_key FROM users WHERE id = ?1";
pub(super) const EXISTS: &str = "SELECT id FROM users WHERE id = ?1";
/// The tables that belong to a user follow by their foreign keys.
pub(super) const ERASE: &str = "DELETE FROM users WHERE id = ?1 RETURNING id";

pub(super) const ADDRESSES: &str = "SELECT a.id, a.body, coalesce(a.id = u.default_address, false), a.created_at, a.version \
     FROM addresses AS a JOIN users AS u ON u.id = a.user_id WHERE a.user_id = ?1 ORDER BY a.created_at, a.id";
pub(super) const ADD_ADDRESS: &str = "INSERT INTO addresses (user_id, id, body, created_at, version) \
     SELECT ?1, ?2, ?3, ?4, 1 WHERE EXISTS (SELECT 1 FROM users WHERE id = ?1) \
         AND (SELECT count(*) FROM addresses WHERE user_id = ?1) < ?5 \
     ON CONFLICT (user_id, id) DO NOTHING RETURNING version";
pub(super) const REPLACE_ADDRESS: &str = "UPDATE addresses SET body = ?3, version = ?4 + 1 \
     WHERE user_id = ?1 AND id = ?2 AND version = ?4 RETURNING version";
/// Precedes the statement that replaces, on the same condition.
pub(super) const MAKE_DEFAULT: &str = "UPDATE users SET default_address = ?2 \
     WHERE id = ?1 AND (?4 <> 0 OR default_address IS NULL) \
         AND EXISTS (SELECT 1 FROM addresses WHERE user_id = ?1 AND id = ?2 AND version = ?3)";
/// Precedes the statement that adds, on the same condition.
pub(super) const MAKE_FIRST_DEFAULT: &str = "UPDATE users SET default_address = ?2 \
     WHERE id = ?1 AND (?4 <> 0 OR default_address IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM addresses WHERE user_id = ?1 AND id = ?2) \
         AND (SELECT count(*) FROM addresses WHERE user_id = ?1) < ?3";
pub(super) const LOOK_ADDRESS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1), \
     EXISTS (SELECT 1 FROM addresses WHERE user_id = ?1 AND id = ?2)";
pub(super) const DELETE_ADDRESS: &str = "DELETE FROM addresses WHERE user_id = ?1 AND id = ?2 RETURNING id";
pub(super) const PASS_DEFAULT_ON: &str = "UPDATE users SET default_address = \
         (SELECT id FROM addresses WHERE user_id = ?1 ORDER BY created_at, id LIMIT 1) \
     WHERE id = ?1 AND default_address = ?2";

pub(super) const PHONES_AT_REST: &str =
    "SELECT id, phone FROM users WHERE id > ?1 AND phone IS NOT NULL ORDER BY id LIMIT ?2";
pub(super) const RESEAL_PHONE: &str = "UPDATE users SET phone = ?3 WHERE id = ?1 AND phone = ?2 RETURNING id";
pub(super) const ADDRESSES_AT_REST: &str = "SELECT user_id, id, body FROM addresses \
     WHERE (user_id, id) > (?1, ?2) ORDER BY user_id, id LIMIT ?3";
pub(super) const RESEAL_ADDRESS: &str = "UPDATE addresses SET body = ?4 \
     WHERE user_id = ?1 AND id = ?2 AND body = ?3 RETURNING id";

pub(super) const PREFERENCES: &str = "SELECT body, version FROM preferences WHERE user_id = ?1";
pub(super) const FIRST_PREFERENCES: &str = "INSERT INTO preferences (user_id, body, version) \
     SELECT ?1, ?2, 1 WHERE EXISTS (SELECT 1 FROM users WHERE id = ?1) \
     ON CONFLICT (user_id) DO NOTHING RETURNING version";
pub(super) const NEXT_PREFERENCES: &str = "UPDATE preferences SET body = ?2, version = ?3 + 1 \
     WHERE user_id = ?1 AND version = ?3 RETURNING version";

pub(super) const PUT_PURCHASE: &str = "INSERT INTO purchases (order_id, user_id, placed_at, version, body) \
     SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM users WHERE id = ?2) \
     ON CONFLICT (order_id) DO UPDATE SET \
         placed_at = excluded.placed_at, version = excluded.version, body = excluded.body \
     WHERE excluded.version > purchases.version AND excluded.user_id = purchases.user_id";
pub(super) const PUT_GUEST_ORDER: &str = "INSERT INTO guest_orders (order_id, guest, placed_at) VALUES (?1, ?2, ?3) ON CONFLICT (order_id) DO NOTHING";
pub(super) const GUEST_ORDERS: &str =
    "SELECT order_id FROM guest_orders WHERE guest = ?1 ORDER BY placed_at, order_id LIMIT ?2";
pub(super) const FORGET_GUEST_ORDER: &str = "DELETE FROM guest_orders WHERE order_id = ?1";
pub(super) const PURCHASES: &str = "SELECT body FROM purchases WHERE user_id = ?1 \
     ORDER BY placed_at DESC, order_id DESC LIMIT ?2";
pub(super) const PURCHASES_BEFORE: &str = "SELECT body FROM purchases WHERE user_id = ?1 \
     AND (placed_at, order_id) < (?3, ?4) ORDER BY placed_at DESC, order_id DESC LIMIT ?2";
