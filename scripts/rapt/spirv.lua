-- What a compute shader asks for, read from its SPIR-V: buffers, push constants, specialization
-- constants, features. Numbers are those of the SPIR-V specification.

local spirv = {}

-- Capabilities that need nothing, and those that need a feature (RAPT_VULKAN_* of rapt/plugin.h).
local STORAGE16, FLOAT16, INT64, SUBGROUP, NV, KHR, FLOAT64 = 1, 2, 4, 8, 16, 32, 64
local needs = { [0] = 0, [1] = 0, [5345] = 0, [5346] = 0, [9] = FLOAT16, [10] = FLOAT64, [11] = INT64,
  [22] = STORAGE16, [4433] = STORAGE16, [4434] = STORAGE16, [61] = SUBGROUP, [62] = SUBGROUP, [63] = SUBGROUP,
  [64] = SUBGROUP, [65] = SUBGROUP, [66] = SUBGROUP, [5357] = NV, [6022] = KHR }

local NON_WRITABLE, BINDING, SET, SPEC_ID, OFFSET = 24, 33, 34, 1, 35
local PUSH_CONSTANT, STORAGE_BUFFER = 9, 12

local function decorations(of, id)
  of[id] = of[id] or {}
  return of[id]
end

-- Every instruction as its opcode and a function that gives its i-th operand; strings by text(i).
local function instructions(code)
  local at = 21 -- behind five words of header
  return function()
    if at > #code then return end
    local head = ("<I4"):unpack(code, at)
    local first, count = at, head >> 16
    at = at + 4 * math.max(count, 1)
    local function word(i) return (("<I4"):unpack(code, first + 4 * i)) end
    return head & 0xffff, word, function(i) return ("z"):unpack(code, first + 4 * i) end, count
  end
end

local handlers = {
  [17] = function(m, word) m.capabilities[#m.capabilities + 1] = word(1) end,
  [5] = function(m, word, text) m.names[word(1)] = text(2) end,
  [6] = function(m, word, text) decorations(m.member_names, word(1))[word(2)] = text(3) end,
  [71] = function(m, word, _, count)
    decorations(m.decorated, word(1))[word(2)] = count > 3 and word(3) or true
  end,
  [72] = function(m, word, _, count)
    local member = decorations(decorations(m.members, word(1)), word(2))
    member[word(3)] = count > 4 and word(4) or true
  end,
  [20] = function(m, word) m.types[word(1)] = { kind = "bool" } end,
  [21] = function(m, word) m.types[word(1)] = { kind = word(3) == 1 and "int" or "uint", bits = word(2) } end,
  [22] = function(m, word) m.types[word(1)] = { kind = "float", bits = word(2) } end,
  [23] = function(m, word) m.types[word(1)] = { kind = "vector", of = word(2), count = word(3) } end,
  [30] = function(m, word, _, count)
    local members = {}
    for i = 2, count - 1 do members[i - 1] = word(i) end
    m.types[word(1)] = { kind = "struct", members = members }
  end,
  [32] = function(m, word) m.types[word(1)] = { kind = "pointer", to = word(3) } end,
  [48] = function(m, word) m.constants[word(2)] = { type = word(1), value = true } end,
  [49] = function(m, word) m.constants[word(2)] = { type = word(1), value = false } end,
  [50] = function(m, word) m.constants[word(2)] = { type = word(1), value = word(3) } end,
  [59] = function(m, word)
    m.variables[#m.variables + 1] = { id = word(2), type = word(1), class = word(3) }
  end,
}

-- int, uint or float of 32 bits, or a vector of them: its kind and count; nil for anything else.
local function scalar(m, id)
  local t, count = m.types[id], 1
  if t and t.kind == "vector" then t, count = m.types[t.of], t.count end
  if t and t.bits == 32 then return t.kind, count end
end

local function read_push(m, variable)
  local struct = m.types[variable.type].to
  local push = { bytes = 0 }
  for i, member in ipairs(m.types[struct].members) do
    local kind, count = scalar(m, member)
    local name = (m.member_names[struct] or {})[i - 1] or "?"
    if not kind then
      return nil,
        ("push constant '%s' is no int, uint or float of 32 bits, nor a vector of them"):format(name)
    end
    local offset = m.members[struct][i - 1][OFFSET]
    push[i] = { name = name, kind = kind, count = count, offset = offset }
    push.bytes = math.max(push.bytes, offset + 4 * count)
  end
  return push
end

local function read_buffer(m, variable)
  local struct = m.types[variable.type].to
  local readonly = (m.decorated[variable.id] or {})[NON_WRITABLE] ~= nil
  if not readonly then
    readonly = true
    for i = 1, #m.types[struct].members do
      readonly = readonly and ((m.members[struct] or {})[i - 1] or {})[NON_WRITABLE] ~= nil
    end
  end
  local name = m.names[variable.id]
  return { name = name ~= "" and name or m.names[struct] or "?", readonly = readonly }
end

local function read_variables(m, result)
  local most = -1
  for _, variable in ipairs(m.variables) do
    local own = m.decorated[variable.id] or {}
    if variable.class == PUSH_CONSTANT then
      local push, why = read_push(m, variable)
      if not push then return nil, why end
      result.push = push
    elseif variable.class == STORAGE_BUFFER then
      if own[SET] ~= 0 then return nil, ("buffer of set %d: set 0 was expected"):format(own[SET] or -1) end
      local binding = own[BINDING]
      if result.buffers[binding + 1] then return nil, ("two buffers have binding %d"):format(binding) end
      result.buffers[binding + 1] = read_buffer(m, variable)
      most = math.max(most, binding)
    elseif own[BINDING] then
      return nil, ("binding %d is no storage buffer"):format(own[BINDING])
    end
  end
  for i = 1, most + 1 do
    if not result.buffers[i] then
      return nil, ("there is no buffer of binding %d, but one of %d"):format(i - 1, most)
    end
  end
  return result
end

local function read_constants(m, result)
  for id, constant in pairs(m.constants) do
    local own = m.decorated[id]
    local spec = own and own[SPEC_ID]
    local t = m.types[constant.type]
    if spec == true then spec = 0 end
    if spec then
      if t.kind ~= "bool" and t.bits ~= 32 then return nil, ("constant %d has not 32 bits"):format(spec) end
      result.constants[spec] = { kind = t.kind, value = constant.value }
    end
  end
  return result
end

--- What the code of a compute shader asks for: {buffers = {{name, readonly}}, push = {{name, kind, count,
--- offset}, bytes = n}, constants = {[id] = {kind, value}}, features = mask}; nil and why it cannot be run.
function spirv.read(code)
  local m = { capabilities = {}, names = {}, member_names = {}, decorated = {}, members = {}, types = {},
    constants = {}, variables = {} }
  for opcode, word, text, count in instructions(code) do
    if handlers[opcode] then handlers[opcode](m, word, text, count) end
  end
  local result = { buffers = {}, push = { bytes = 0 }, constants = {}, features = 0 }
  for _, capability in ipairs(m.capabilities) do
    if not needs[capability] then
      return nil, ("it needs SPIR-V capability %d, which rapt does not turn on"):format(capability)
    end
    result.features = result.features | needs[capability]
  end
  local fine, why = read_variables(m, result)
  if not fine then return nil, why end
  return read_constants(m, result)
end

return spirv
