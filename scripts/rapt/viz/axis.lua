-- Round numbers for axes, and how numbers are written on them.

local axis = {}

--- A round step (1, 2 or 5 times a power of ten) that cuts `range` into about `wanted` parts.
function axis.step(range, wanted)
  local raw = range / math.max(1, wanted)
  local power = 10.0 ^ math.floor(math.log(raw, 10))
  for _, multiple in ipairs { 1, 2, 5, 10 } do
    if raw <= multiple * power * 1.0000001 then return multiple * power end
  end
  return 10 * power
end

--- Round positions from low to high, both included where they are round.
function axis.ticks(low, high, wanted)
  if high <= low then return { low } end
  local step = axis.step(high - low, wanted)
  local ticks = {}
  for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do ticks[#ticks + 1] = i * step end
  return ticks
end

--- Round positions among 1 .. n: 1, and multiples of a round step.
function axis.positions(n, wanted)
  local step = math.max(1, math.tointeger(axis.step(n, wanted)) or 1)
  local list = { 1 }
  for i = step, n, step do
    if i > 1 then list[#list + 1] = i end
  end
  return list
end

--- A number as short as it may be read: 0.25, 12, 1e-05.
function axis.text(x)
  if x ~= x then return "NaN" end
  if x == 0 then return "0" end
  if math.type(x) == "integer" then return tostring(x) end
  local size = math.abs(x)
  if size >= 1e5 or size < 1e-3 then return (("%.2e"):format(x):gsub("%.?0*e", "e")) end
  local text = ("%.4g"):format(x)
  return (text:find("[.e]") and text:gsub("%.?0+$", "")) or text
end

return axis
