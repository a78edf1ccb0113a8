-- Sort what a deleted job has used in the store, as of now.
--
-- KEYS   record
-- ARGV   name
-- Reply  as of `delete.lua`
-- include: prelude
-- include: leftovers
return sort_leftovers()
