-- How a token is held against the denylist: the rules of revocation/entry.py.

-- The kind of the first entry that refuses the token, or nil.
--
-- `id_level(kind, id)` and `name_level(kind, name, salt)` give a record's level, 0 where there is
-- none; `watermark` is the epoch's; `salts` are the present epoch's and those of epochs that are
-- gone, whose entries still count.
local function refusal(claims, parties, kid, copy)
  if copy.id_level("t", claims.jti) > 0 then return "token" end
  if copy.id_level("s", claims.sid) > 0 then return "session" end
  for _, salt in ipairs(copy.salts) do
    if copy.name_level("u", claims.sub, salt) > claims.sub_ver then return "subject" end
    if copy.name_level("k", kid, salt) > 0 then return "key" end
    if copy.name_level("c", claims.client_id, salt) >= claims.iat then return "client" end
    for _, party in ipairs(parties) do
      if copy.name_level("c", party, salt) >= claims.iat then return "client" end
    end
  end
  if claims.iat <= copy.watermark then return "epoch" end
end

return {refusal = refusal}
