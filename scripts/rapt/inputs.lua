-- Inputs for any operator, made from its description alone: what benchmarks and checks feed it with.

local inputs = {}

-- --- The shape language ----------------------------------------------------------------------

local function ceil_log2(x)
  local bits, power = 0, 1
  while power < x do bits, power = bits + 1, power * 2 end
  return bits
end

--- The value of a size expression, like "D", "ceil_log2(N)+1" or "cq": letters from `sizes`, names from
-- `attrs`.
function inputs.evaluate(expression, sizes, attrs)
  local text = expression:gsub("%?$", ""):gsub("/", "//")
  local names = setmetatable({ ceil_log2 = ceil_log2, min = math.min, max = math.max }, {
    __index = function(_, name)
      local value = sizes[name]
      if value == nil then value = attrs[name] end
      if value == nil then error(("'%s' has no value"):format(name), 0) end
      return value
    end,
  })
  local chunk, why = load("return " .. text, "=" .. expression, "t", names)
  if not chunk then error(why, 0) end
  return chunk()
end

--- The dimensions of a spec, "q: B H N D", as a list of expressions; "..." stands for no dimension here.
function inputs.dimensions(spec)
  local list = {}
  for part in (spec:match(":(.*)$") or ""):gmatch("%S+") do
    if not part:find("^%.%.%.") then list[#list + 1] = part end
  end
  return list
end

-- The inputs of a call: those that are needed and the optional ones named in the list `with`.
local function chosen(description, with)
  local list, wanted = {}, {}
  for _, name in ipairs(with or {}) do wanted[name] = true end
  for _, input in ipairs(description.inputs) do
    if not input.optional or wanted[input.name] then list[#list + 1] = input end
    wanted[input.name] = nil
  end
  local name = next(wanted)
  if name then error(("%s has no input '%s'"):format(description.name, name), 0) end
  return list
end

-- The size letters among these inputs, in order of appearance.
local function letters_of(list_of_inputs)
  local list, seen = {}, {}
  for _, input in ipairs(list_of_inputs) do
    for _, dimension in ipairs(inputs.dimensions(input.spec)) do
      for word in dimension:gmatch("[%a_]+") do
        if #word == 1 and not seen[word] then
          seen[word] = true
          list[#list + 1] = word
        end
      end
    end
  end
  return list
end

local function value_of(text)
  if text == "true" then return true end
  if text == "false" then return false end
  if text:find(",", 1, true) then
    local list = {}
    for part in text:gmatch("[^,]+") do list[#list + 1] = math.tointeger(tonumber(part)) or part end
    return list
  end
  return tonumber(text) or text
end

--- "B=2 H=4 causal=true" as sizes (single letters; numbers, or expressions in others) and attributes.
function inputs.parse_example(text)
  local sizes, attrs = {}, {}
  for name, value in (text or ""):gmatch("([%w_]+)=(%S+)") do
    if name:match("^%a$") then
      sizes[name] = math.tointeger(tonumber(value)) or value
    else
      attrs[name] = value_of(value)
    end
  end
  return sizes, attrs
end

--- The value of every size letter: what is given, else what goes with it (M as N, G as H, E as D), else the
-- example's. `with`: names of optional inputs that take part.
function inputs.sizes(description, given, with)
  local example = inputs.parse_example(description.example)
  local sizes = {}
  local partner = { M = "N", G = "H", E = "D" }
  for _, letter in ipairs(letters_of(chosen(description, with))) do
    sizes[letter] = given[letter] or (partner[letter] and given[partner[letter]]) or example[letter]
    if not sizes[letter] then
      error(("%s: the size %s is not known: its description has no example of it"):format(description.name,
        letter), 0)
    end
  end
  for letter, value in pairs(sizes) do
    if type(value) == "string" then sizes[letter] = inputs.evaluate(value, sizes, {}) end
  end
  return sizes
end

-- --- Values ----------------------------------------------------------------------------------

local functions = {}
for _, name in ipairs { "sigmoid", "softplus", "tanh", "exp", "relu" } do
  functions[name] = function(x) return x[name](x) end
end
function functions.elu(x) return require("rapt").where(x:gt(0), x, x:exp() - 1) end

-- An activation, like "-softplus" or "1 + tanh", as a function of a tensor.
local function activation_of(text)
  local body = text:gsub("[%a_]+", function(name) return functions[name] and name .. "(x)" or name end)
  local chunk, why = load("local x = ... return " .. body, "=" .. text, "t", functions)
  if not chunk then error(("activation '%s': %s"):format(text, why), 0) end
  return chunk
end

-- Normal numbers; of the size that "trunc_normal(0.02)" says, or small around an identity.
local function spread_of(init)
  if not init then return 1 end
  return tonumber(init:match("^trunc_normal%(([%d.]+)%)$")) or 0.1
end

local function make_one(rapt, description, input, shape, options)
  local dtype = input.dtype
  if dtype and not dtype:find("T", 1, true) and not dtype:find("^f") and not dtype:find("^b?f") then
    return rapt.randint(0, 2, shape, { dtype = dtype:match("^[^|]+"), device = options.device })
  end
  local own = { dtype = options.dtype, device = options.device }
  if dtype and not dtype:find("T", 1, true) then own.dtype = dtype:match("^[^|]+") end
  if input.role == "state" then return rapt.zeros(shape, { dtype = "f32", device = options.device }) end
  if input.role == "parameter" and (input.init == "zeros" or input.init == "ones") then
    return rapt[input.init](shape, own)
  end
  if #shape == 0 then error(("%s: cannot make input %s"):format(description.name, input.name), 0) end
  local normal = rapt.randn(shape)
  if input.activation and input.activation ~= "" then
    normal = activation_of(input.activation)(normal)
  elseif input.role == "parameter" then
    normal = normal * spread_of(input.init)
  end
  return normal:to(own.dtype):to(own.device)
end

--- Every input that is not optional, and those of the list options.with, as a table by name. options:
--- dtype, device, with.
function inputs.make(description, sizes, attrs, options)
  local rapt = require "rapt"
  local result = {}
  for _, input in ipairs(chosen(description, options.with)) do
    local shape = {}
    for i, dimension in ipairs(inputs.dimensions(input.spec)) do
      shape[i] = inputs.evaluate(dimension, sizes, attrs)
    end
    result[input.name] = make_one(rapt, description, input, shape, options)
  end
  return result
end

return inputs
