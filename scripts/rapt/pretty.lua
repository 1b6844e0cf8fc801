-- Values as people read them: nested tables with sorted keys, short where they are long, safe where they are
-- cyclic.

local pretty = {}

local DEPTH, ITEMS, STRING = 6, 60, 400

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then
  true until while]]):gmatch("%a+") do
  keywords[word] = true
end

local function quoted(text)
  local cut = #text > STRING and ("... (%d bytes)"):format(#text) or ""
  text = text:sub(1, STRING):gsub("[%c\\\"]", function(c)
    if c == "\n" then return "\\n" elseif c == "\t" then return "\\t" end
    if c == "\\" or c == '"' then return "\\" .. c end
    return ("\\x%02x"):format(c:byte())
  end)
  return '"' .. text .. '"' .. cut
end

-- A tensor inside a table: its first line says enough.
local function summary(value)
  local text = tostring(value)
  local first = text:match("^[^\n]*")
  return first == text and text or first .. " ..."
end

local function scalar(value)
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if kind == "number" and value == math.floor(value) and math.type(value) == "float"
    and math.abs(value) < 1e15 then
    return ("%.1f"):format(value)
  end
  if kind == "function" or kind == "thread" then return kind end
  if kind == "userdata" then return summary(value) end
  return tostring(value)
end

local order = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local x, y = order[type(a)] or 4, order[type(b)] or 4
  if x ~= y then return x < y end
  if x <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") and not keywords[key] then return key end
  return "[" .. scalar(key) .. "]"
end

local render

-- The entries of a table as texts, list part first.
local function entries(value, state, depth)
  local list, parts = {}, {}
  local n = 0
  while rawget(value, n + 1) ~= nil do n = n + 1 end
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then list[#list + 1] = key end
  end
  table.sort(list, before)
  for i = 1, math.min(n, ITEMS) do parts[i] = render(rawget(value, i), state, depth + 1) end
  if n > ITEMS then parts[#parts + 1] = ("... %d more"):format(n - ITEMS) end
  for i, key in ipairs(list) do
    if i > ITEMS then
      parts[#parts + 1] = ("... %d more"):format(#list - ITEMS)
      break
    end
    parts[#parts + 1] = key_text(key) .. " = " .. render(rawget(value, key), state, depth + 1)
  end
  return parts
end

function render(value, state, depth)
  if type(value) ~= "table" then return scalar(value) end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__tostring then return summary(value) end
  if state.open[value] then return "<cycle>" end
  if next(value) == nil then return "{}" end
  if depth >= DEPTH then return "{...}" end
  state.open[value] = true
  local parts = entries(value, state, depth)
  state.open[value] = nil
  local line = "{" .. table.concat(parts, ", ") .. "}"
  local indent = ("  "):rep(depth + 1)
  if #indent + #line <= state.width and not line:find("\n") then return line end
  return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

--- A value for people. `width`: columns that a line should not pass. Text of several lines stands as it is.
function pretty.format(value, width)
  if type(value) == "string" and value:find("\n") then return (value:gsub("\n$", "")) end
  if type(value) == "userdata" then return tostring(value) end
  local meta = type(value) == "table" and getmetatable(value)
  if type(meta) == "table" and meta.__tostring then return tostring(value) end
  return render(value, { open = {}, width = width or 80 }, 0)
end

return pretty
