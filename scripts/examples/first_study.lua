-- The first study: two attention operators train the same small language model on the same text.
--
--   rapt run scripts/examples/first_study.lua [TEXT] [--ops softmax,cog] [--seeds 2] [--steps 500] [--out
-- DIR]
--
-- The model reads bytes and predicts the next one. Everything but the attention operator is equal: the
-- parameters' initial values, the batches and their order. What differs in the end is the operator's doing
-- (and the seed's: that is why there is more than one).

local argparse = require "argparse"
local rapt = require "rapt"
local file = require "rapt.file"
local terminal = require "rapt.terminal"
local viz = require "rapt.viz"

-- --- What is asked for -----------------------------------------------------------------------

local parser = argparse("first_study",
  "Trains a byte-level language model with each of several attention operators.")
local function whole(text)
  local n = math.tointeger(tonumber(text))
  if not n or n < 1 then return nil, ("'%s' is no positive whole number"):format(text) end
  return n
end

parser:argument("text", "A text file (a licence that every Debian has)."):args("?")
parser:option("--ops", "Operators, separated by commas.", "softmax,cog")
parser:option("--seeds", "Seeds for each operator.", "2"):convert(whole)
parser:option("--steps", "Optimizer steps of each run.", "500"):convert(whole)
parser:option("--layers", "Layers of the model.", "2"):convert(whole)
parser:option("--device", "Where to compute.", "cpu")
parser:option("--out", "Folder for the results.", "results/first_study")
parser:flag("--quick", "A tiny model: to see that everything works.")
local options = parser:parse()
options.text = options.text or "/usr/share/common-licenses/GPL-3"

local size = { width = 128, heads = 4, context = 64, batch = 16 }
if options.quick then size = { width = 32, heads = 2, context = 32, batch = 4 } end

local ops = {}
for name in options.ops:gmatch("[^,%s]+") do
  rapt.describe(name) -- an error here names the nearest operator
  ops[#ops + 1] = name
end

local on_device = { device = options.device }
local BITS = 1 / math.log(2)

-- --- Data ------------------------------------------------------------------------------------

local text, why = file.read(options.text)
if not text then error(why, 0) end
local split = #text * 9 // 10
local window = size.context + 1
if #text - split < window then
  error(("%s: %d bytes are too few: the last tenth must hold a window of %d"):format(options.text, #text,
    window), 0)
end

-- Windows of the text that begin at `starts` (from 0), as inputs and as what follows each of their bytes.
local function windows(starts)
  local inputs, targets = {}, {}
  for i, start in ipairs(starts) do
    inputs[i] = text:sub(start + 1, start + size.context)
    targets[i] = text:sub(start + 2, start + window)
  end
  local function tensor(parts)
    return rapt.frombytes(table.concat(parts), { dtype = "u8", device = options.device }):view(#parts,
      size.context)
  end
  return tensor(inputs), tensor(targets)
end

local function training_batch()
  return windows(rapt.randint(0, split - window + 1, size.batch, { dtype = "i64" }):totable())
end

-- The held-out part, cut into windows side by side.
local held_out = {}
do
  local starts = {}
  for start = split, #text - window, size.context do starts[#starts + 1] = start end
  for first = 1, #starts, size.batch do
    local part = table.move(starts, first, math.min(first + size.batch - 1, #starts), 1, {})
    held_out[#held_out + 1] = { count = #part, windows(part) }
  end
end

-- --- The model -------------------------------------------------------------------------------

local function new_model()
  local parameters = {}
  local function parameter(tensor)
    tensor:requires_grad_()
    parameters[#parameters + 1] = tensor
    return tensor
  end
  local function weight(n_in, n_out, scale)
    return parameter(rapt.randn(n_in, n_out, on_device) * ((scale or 1) / math.sqrt(n_in)))
  end
  local function gain() return parameter(rapt.ones(size.width, on_device)) end

  local model = { parameters = parameters, layers = {} }
  model.bytes = parameter(rapt.randn(256, size.width, on_device) * 0.1)
  model.positions = parameter(rapt.randn(size.context, size.width, on_device) * 0.1)
  local depth = 1 / math.sqrt(2 * options.layers)
  for i = 1, options.layers do
    model.layers[i] = {
      norm_mix = gain(), query = weight(size.width, size.width), key = weight(size.width, size.width),
      value = weight(size.width, size.width), out = weight(size.width, size.width, depth),
      norm_mlp = gain(), up = weight(size.width, 4 * size.width), down = weight(4 * size.width, size.width,
        depth),
    }
  end
  model.norm = gain()
  model.head = weight(size.width, 256, 0.5)
  return model
end

-- B N width -> B heads N features
local function split_heads(x)
  local batch, positions = x.shape[1], x.shape[2]
  return x:view(batch, positions, size.heads, size.width // size.heads):transpose(2, 3)
end

local function merge_heads(x)
  return x:transpose(2, 3):reshape(x.shape[1], x.shape[3], size.width)
end

-- Tokens B N to logits B N 256. `watch`, if given, receives each layer's queries and keys.
local function forward(model, op, tokens, watch)
  local positions = tokens.shape[2]
  local x = rapt.embedding(model.bytes, tokens) + model.positions:narrow(1, 1, positions)
  for _, layer in ipairs(model.layers) do
    local h = rapt.rms_norm(x, layer.norm_mix)
    local q = split_heads(rapt.matmul(h, layer.query))
    local k = split_heads(rapt.matmul(h, layer.key))
    local v = split_heads(rapt.matmul(h, layer.value))
    if watch then watch(q, k) end
    local mixed = rapt.call(op, { q = q, k = k, v = v }, { causal = true })
    x = x + rapt.matmul(merge_heads(mixed), layer.out)
    h = rapt.rms_norm(x, layer.norm_mlp)
    x = x + rapt.matmul(rapt.gelu(rapt.matmul(h, layer.up)), layer.down)
  end
  return rapt.matmul(rapt.rms_norm(x, model.norm), model.head)
end

local function loss_of(model, op, tokens, targets)
  local logits = forward(model, op, tokens)
  return rapt.cross_entropy(logits:reshape(-1, 256), targets:reshape(-1))
end

-- --- Training --------------------------------------------------------------------------------

-- A short warm-up, then half a cosine down to a tenth.
local function learning_rate(step)
  local warm = math.max(1, options.steps // 10)
  if step <= warm then return 3e-3 * step / warm end
  local done = (step - warm) / math.max(1, options.steps - warm)
  return 3e-3 * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
end

local function new_optimizer(model)
  local state = {}
  for i, p in ipairs(model.parameters) do
    state[i] = { first = rapt.zeros(p.shape, on_device), second = rapt.zeros(p.shape, on_device) }
  end
  return function(step)
    rapt.no_grad(function()
      for i, p in ipairs(model.parameters) do
        rapt.adamw(p, p.grad, state[i].first, state[i].second,
          { lr = learning_rate(step), beta1 = 0.9, beta2 = 0.99, weight_decay = #p.shape > 1 and 0.05 or 0,
            step = step })
        p:zero_grad()
      end
    end)
  end
end

-- Mean bits per byte over the held-out text.
local function validate(model, op)
  local sum, count = 0, 0
  rapt.no_grad(function()
    for _, part in ipairs(held_out) do
      sum = sum + loss_of(model, op, part[1], part[2]):item() * part.count
      count = count + part.count
    end
  end)
  return sum / count * BITS
end

-- One line that is written over on a terminal; now and then a line of its own elsewhere.
local on_terminal = terminal.is_tty(1)
local function progress(line, last)
  if on_terminal then
    io.write("\r\27[K", line, last and "\n" or "")
  else
    io.write(line, "\n")
  end
  io.flush()
end

local function train(op, seed, label)
  rapt.manual_seed(seed)
  local model = new_model()
  local update = new_optimizer(model)
  local curve, start = {}, rapt.now()
  local every = math.max(1, options.steps // 4)
  for step = 1, options.steps do
    local tokens, targets = training_batch()
    local loss = loss_of(model, op, tokens, targets)
    loss:backward()
    update(step)
    curve[step] = loss:item() * BITS
    if step < options.steps and (on_terminal or step % every == 0) then
      local rate = step / (rapt.now() - start)
      progress(("%s  step %d of %d  %.3f bits per byte  %.1f steps/s, %.0f s to go"):format(label, step,
        options.steps, curve[step], rate, (options.steps - step) / rate))
    end
  end
  local seconds = rapt.now() - start
  local validation = validate(model, op)
  progress(("%s  %d steps in %.1f s: training %.3f, held out %.3f bits per byte"):format(label,
    options.steps, seconds,
    curve[options.steps], validation), true)
  return { op = op, seed = seed, curve = curve, validation = validation, seconds = seconds, model = model }
end

-- --- What the models have learned -------------------------------------------------------------

-- Continues `prompt` byte by byte, drawn from the model's distribution at a low temperature.
local function sample(model, op, prompt, length)
  local line = prompt
  rapt.manual_seed(7)
  rapt.no_grad(function()
    for _ = 1, length do
      local seen = line:sub(-size.context)
      local tokens = rapt.frombytes(seen, { dtype = "u8", device = options.device }):view(1, #seen)
      local logits = forward(model, op, tokens):select(2, #seen):view(256)
      local chances = (logits * (1 / 0.6)):softmax(1):totable()
      local draw, byte = rapt.rand(1):item(), 0
      while byte < 255 and draw >= chances[byte + 1] do
        draw = draw - chances[byte + 1]
        byte = byte + 1
      end
      line = line .. string.char(byte)
    end
  end)
  return line
end

-- The last layer's attention weights on the beginning of the held-out text: heads, queries, keys.
local function attention_map(model, op)
  local n = math.min(48, size.context)
  local tokens = held_out[1][1]:narrow(1, 1, 1):narrow(2, 1, n)
  local queries, keys
  return rapt.no_grad(function()
    forward(model, op, tokens, function(q, k) queries, keys = q, k end)
    return rapt.weights(op, { q = queries, k = keys }, { causal = true })[1]
  end)
end

-- --- The study -------------------------------------------------------------------------------

local function mean_and_spread(list)
  local sum, least, most = 0, math.huge, -math.huge
  for _, x in ipairs(list) do sum, least, most = sum + x, math.min(least, x), math.max(most, x) end
  return sum / #list, least, most
end

-- The mean of a window of a curve, so that one sees where it goes.
local function smooth(curve, reach)
  local result = {}
  for i = 1, #curve do
    local sum, count = 0, 0
    for j = math.max(1, i - reach), math.min(#curve, i + reach) do sum, count = sum + curve[j], count + 1 end
    result[i] = sum / count
  end
  return result
end

local made, problem = file.make_folder(options.out)
if not made then error(problem, 0) end

print(("%s: %d bytes, the last tenth held out"):format(options.text, #text))
print(("%d layers, width %d, %d heads, context %d, batches of %d, %d steps"):format(options.layers,
  size.width,
  size.heads, size.context, size.batch, options.steps))
local began = rapt.now()
local runs, by_op = {}, {}
for seed = 1, options.seeds do
  for _, op in ipairs(ops) do
    local label = ("%-8s seed %d"):format(op, seed)
    local result = train(op, seed, label)
    runs[#runs + 1] = result
    by_op[op] = by_op[op] or {}
    table.insert(by_op[op], result)
  end
end

print("\nHeld-out loss, bits per byte (less is better)")
print(("  %-12s %8s   %-17s %s"):format("operator", "mean", "least .. most", "by seed"))
for _, op in ipairs(ops) do
  local list, shown = {}, {}
  for i, r in ipairs(by_op[op]) do list[i], shown[i] = r.validation, ("%.4f"):format(r.validation) end
  local mean, least, most = mean_and_spread(list)
  print(("  %-12s %8.4f   %.4f .. %.4f  %s"):format(op, mean, least, most, table.concat(shown, "  ")))
end

local curves = {}
for _, op in ipairs(ops) do
  local mean = {}
  for step = 1, options.steps do
    local sum = 0
    for _, r in ipairs(by_op[op]) do sum = sum + r.curve[step] end
    mean[step] = sum / #by_op[op]
  end
  curves[#curves + 1] = { name = op, y = smooth(mean, 3) }
end
-- The fall of the first steps, from knowing nothing, would leave no room for what differs.
local highest = 0
for _, curve in ipairs(curves) do highest = math.max(highest, curve.y[options.steps // 25 + 1]) end
local drawing = { ymax = highest, title = "Training loss, mean over seeds", xlabel = "step",
  ylabel = "bits per byte" }
print()
viz.lines(curves, drawing)
drawing.path = options.out .. "/loss.png"
viz.lines(curves, drawing)

print("\nSpeed of the operators")
local request = { B = 1, H = 8, N = 512, D = 64, device = options.device, seconds = 0.3, peak_side = 1024 }
if options.quick then request.N, request.seconds, request.peak_side = 64, 0.01, 256 end
table.move(ops, 1, #ops, 1, request)
local speed = rapt.bench(request)
io.write(tostring(speed))

for _, op in ipairs(ops) do
  local ok, map = pcall(attention_map, by_op[op][1].model, op)
  if ok then
    local figure = { title = ("%s, last layer, seed 1: weights of each head"):format(op), scale = "sqrt" }
    if op == ops[#ops] then
      print()
      viz.heatmap(map, figure)
    end
    figure.path, figure.xlabel, figure.ylabel = ("%s/attention_%s.png"):format(options.out, op), "key",
      "query"
    viz.heatmap(map, figure)
  else
    print(("no attention map of %s: %s"):format(op, map))
  end
end

local best = runs[1]
for _, r in ipairs(runs) do
  if r.validation < best.validation then best = r end
end
local prompt = text:sub(split + 1, split + 24)
print(("\nThe best of them (%s, seed %d) goes on from \"%s\":"):format(best.op, best.seed,
  (prompt:gsub("%s+", " "))))
print((sample(best.model, best.op, prompt, options.quick and 20 or 200):gsub("[^\n\32-\126]", "?")))

-- Hexadecimal floats say every bit: the same study gives the same file, up to its times.
local record = { text = options.text, steps = options.steps, layers = options.layers, size = size, runs = {},
  device = options.device, speed = speed.rows, peak_gflops = speed.peak_gflops }
for i, r in ipairs(runs) do
  local exact = {}
  for step, loss in ipairs(r.curve) do exact[step] = ("%a"):format(loss) end
  record.runs[i] = { op = r.op, seed = r.seed, validation = r.validation,
    validation_exact = ("%a"):format(r.validation),
    training_exact = exact, seconds = r.seconds }
end
local saved, save_problem = file.write(options.out .. "/results.json", require("cjson").encode(record)
  .. "\n")
if not saved then error(save_problem, 0) end
print(("\n%.0f s in all. Results, loss curves and attention maps: %s"):format(rapt.now() - began,
  options.out))
