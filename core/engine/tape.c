/*
 * The tape: nodes, their release, and the backward pass.
 *
 * A node is made by every recorded call. Tensors point to the node that made them, nodes to the
 * nodes (or leaves) that made their inputs, so that a graph lives as long as a tensor that needs
 * it. Neither release nor backward recurses: graphs may be as deep as memory allows.
 */
#include "base/error.h"
#include "base/text.h"
#include "engine/engine.h"
#include "tensor/convert.h"
#include <stdlib.h>
#include <string.h>

static atomic_ullong next_order = 1;

rapt_node *rapt_node_new(const rapt_node_class *class, uint32_t n_edges, uint32_t n_ports,
                         size_t body_bytes, rapt_error *error)
{
    const size_t edges = n_edges * sizeof(rapt_edge), ports = n_ports * sizeof(rapt_port),
                 grads = n_ports * sizeof(rapt_tensor *);
    const size_t bytes = sizeof(rapt_node) + edges + ports + grads + body_bytes;
    rapt_node *node = calloc(1, bytes);
    if (!node) {
        rapt_fail_memory(error, bytes, "the tape");
        return NULL;
    }
    atomic_init(&node->references, 1);
    node->class = class;
    node->order = atomic_fetch_add_explicit(&next_order, 1, memory_order_relaxed);
    node->n_edges = n_edges;
    node->n_ports = n_ports;
    node->edges = (rapt_edge *)(node + 1);
    node->ports = (rapt_port *)(void *)((char *)node->edges + edges);
    node->grads = (rapt_tensor **)(void *)((char *)node->ports + ports);
    node->body = (char *)node->grads + grads;
    for (uint32_t i = 0; i < n_ports; i++)
        node->ports[i] = (rapt_port){node, i};
    return node;
}

static rapt_node *node_retain(rapt_node *node)
{
    atomic_fetch_add_explicit(&node->references, 1, memory_order_relaxed);
    return node;
}

static void drop_edges(rapt_node *node)
{
    for (uint32_t i = 0; i < node->n_edges; i++) {
        const rapt_edge edge = node->edges[i];
        node->edges[i] = (rapt_edge){0};
        rapt_tensor_release(edge.leaf);
        if (edge.port)
            rapt_node_release(edge.port->node);
    }
}

void rapt_node_release(rapt_node *node)
{
    /* Nodes that die while another one is being freed wait in a list: the stack stays flat however
     * long the chain of last references is. */
    static _Thread_local rapt_node *dead;
    static _Thread_local bool draining;
    if (!node || atomic_fetch_sub_explicit(&node->references, 1, memory_order_acq_rel) != 1)
        return;
    node->next_dead = dead;
    dead = node;
    if (draining)
        return;
    draining = true;
    while (dead) {
        node = dead;
        dead = node->next_dead;
        if (node->class->drop)
            node->class->drop(node);
        drop_edges(node);
        if (node->class->end)
            node->class->end(node);
        free(node);
    }
    draining = false;
}

static void release_port(void *port)
{
    rapt_node_release(((rapt_port *)port)->node);
}

void rapt_node_connect(rapt_node *node, uint32_t i, rapt_tensor *tensor)
{
    if (tensor->autograd) {
        node->edges[i].port = tensor->autograd;
        node_retain(node->edges[i].port->node);
    } else if (tensor->requires_grad) {
        node->edges[i].leaf = rapt_tensor_retain(tensor);
    }
}

void rapt_node_attach(rapt_node *node, uint32_t i, rapt_tensor *tensor)
{
    node_retain(node);
    tensor->autograd = &node->ports[i];
    tensor->autograd_release = release_port;
}

/* --- Leaves and flags ------------------------------------------------------------------------ */

static bool is_float(const rapt_tensor *tensor)
{
    const rapt_dtype dtype = rapt_tensor_dtype(tensor);
    return dtype == RAPT_F32 || dtype == RAPT_F16 || dtype == RAPT_BF16 || dtype == RAPT_F64;
}

rapt_status rapt_set_requires_grad(rapt_tensor *tensor, bool on, rapt_error *error)
{
    if (on && !is_float(tensor))
        return rapt_fail(error, RAPT_INVALID,
                         "requires_grad: only tensors of a float dtype have gradients; this is %s",
                         rapt_dtype_name(rapt_tensor_dtype(tensor)));
    if (tensor->autograd && !on)
        return rapt_fail(error, RAPT_INVALID,
                         "requires_grad: the tensor is the result of a recorded call, which cannot "
                         "be taken back; detach gives the same memory without history");
    if (!tensor->autograd)
        tensor->requires_grad = on;
    return RAPT_OK;
}

bool rapt_requires_grad(const rapt_tensor *tensor)
{
    return rapt_tensor_tracked(tensor) && is_float(tensor);
}

bool rapt_is_leaf(const rapt_tensor *tensor)
{
    return !tensor->autograd;
}

rapt_tensor *rapt_grad(const rapt_tensor *tensor)
{
    return tensor->grad;
}

void rapt_clear_grad(rapt_tensor *tensor)
{
    rapt_tensor *grad = tensor->grad;
    tensor->grad = NULL;
    rapt_tensor_release(grad);
}

rapt_tensor *rapt_alias(const rapt_tensor *tensor, rapt_error *error)
{
    return rapt_tensor_over(tensor->storage, rapt_tensor_dtype(tensor), tensor->view.ndim,
                            tensor->shape, tensor->strides, (int64_t)tensor->view.byte_offset,
                            error);
}

rapt_tensor *rapt_detach(rapt_tensor *tensor, rapt_error *error)
{
    return rapt_alias(tensor, error);
}

rapt_status rapt_check_writable(const rapt_context *context, const rapt_tensor *tensor,
                                const char *what, rapt_error *error)
{
    if (tensor->autograd)
        return rapt_fail(error, RAPT_INVALID,
                         "%s is the result of a recorded call (of %s): it cannot be written in "
                         "place; detach it first",
                         what,
                         ((rapt_port *)tensor->autograd)
                             ->node->class->name(((rapt_port *)tensor->autograd)->node));
    if (tensor->requires_grad && context->recording)
        return rapt_fail(error, RAPT_INVALID,
                         "%s requires its gradient: write it in place with recording off (no_grad)",
                         what);
    return RAPT_OK;
}

/* --- Backward -------------------------------------------------------------------------------- */

/* The gradient of a leaf that this pass has summed so far. */
typedef struct leaf_entry {
    rapt_tensor *leaf, *grad;
} leaf_entry;

typedef struct pass {
    rapt_context *context;
    bool retain_graph;
    rapt_node **heap; /* greatest order first; each holds a reference */
    size_t n_heap, heap_capacity;
    leaf_entry *leaves; /* open addressing by address; capacity is a power of two */
    size_t n_leaves, leaf_capacity;
    rapt_error *error;
} pass;

static rapt_status heap_push(pass *p, rapt_node *node)
{
    if (p->n_heap == p->heap_capacity) {
        const size_t capacity = p->heap_capacity ? 2 * p->heap_capacity : 64;
        rapt_node **heap = realloc(p->heap, capacity * sizeof *heap);
        if (!heap)
            return rapt_fail_memory(p->error, capacity * sizeof *heap, "backward");
        p->heap = heap;
        p->heap_capacity = capacity;
    }
    size_t i = p->n_heap++;
    while (i > 0 && p->heap[(i - 1) / 2]->order < node->order) {
        p->heap[i] = p->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    p->heap[i] = node_retain(node);
    node->queued = true;
    return RAPT_OK;
}

static rapt_node *heap_pop(pass *p)
{
    rapt_node *top = p->heap[0], *last = p->heap[--p->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= p->n_heap)
            break;
        if (child + 1 < p->n_heap && p->heap[child + 1]->order > p->heap[child]->order)
            child++;
        if (p->heap[child]->order <= last->order)
            break;
        p->heap[i] = p->heap[child];
        i = child;
    }
    p->heap[i] = last;
    top->queued = false;
    return top;
}

static leaf_entry *leaf_slot(leaf_entry *leaves, size_t capacity, const rapt_tensor *leaf)
{
    size_t i = (size_t)((uint64_t)(uintptr_t)leaf * 0x9E3779B97F4A7C15u >> 20) & (capacity - 1);
    while (leaves[i].leaf && leaves[i].leaf != leaf)
        i = (i + 1) & (capacity - 1);
    return &leaves[i];
}

static rapt_status grow_leaves(pass *p)
{
    const size_t capacity = p->leaf_capacity ? 2 * p->leaf_capacity : 64;
    leaf_entry *leaves = calloc(capacity, sizeof *leaves);
    if (!leaves)
        return rapt_fail_memory(p->error, capacity * sizeof *leaves, "backward");
    for (size_t i = 0; i < p->leaf_capacity; i++)
        if (p->leaves[i].leaf)
            *leaf_slot(leaves, capacity, p->leaves[i].leaf) = p->leaves[i];
    free(p->leaves);
    p->leaves = leaves;
    p->leaf_capacity = capacity;
    return RAPT_OK;
}

/* Adds `grad`, a new reference that is taken over, to what stands in *sum. */
static rapt_status gather(pass *p, rapt_tensor **sum, rapt_tensor *grad)
{
    if (*sum) {
        rapt_tensor *before = *sum;
        *sum = rapt_sum_gradients(p->context, before, grad, p->error);
        rapt_tensor_release(grad);
        if (!*sum)
            return p->error && p->error->status ? p->error->status : RAPT_NO_MEMORY;
    } else {
        *sum = grad;
    }
    return RAPT_OK;
}

static rapt_status give_leaf(pass *p, rapt_tensor *leaf, rapt_tensor *grad)
{
    if (2 * p->n_leaves >= p->leaf_capacity) {
        const rapt_status status = grow_leaves(p);
        if (status != RAPT_OK) {
            rapt_tensor_release(grad);
            return status;
        }
    }
    leaf_entry *entry = leaf_slot(p->leaves, p->leaf_capacity, leaf);
    if (!entry->leaf) {
        entry->leaf = rapt_tensor_retain(leaf);
        p->n_leaves++;
    }
    return gather(p, &entry->grad, grad);
}

static rapt_status give_port(pass *p, rapt_port *port, rapt_tensor *grad)
{
    if (!port->node->queued) {
        const rapt_status status = heap_push(p, port->node);
        if (status != RAPT_OK) {
            rapt_tensor_release(grad);
            return status;
        }
    }
    return gather(p, &port->node->grads[port->index], grad);
}

static void clear_grads(rapt_node *node)
{
    for (uint32_t i = 0; i < node->n_ports; i++) {
        rapt_tensor *grad = node->grads[i];
        node->grads[i] = NULL;
        rapt_tensor_release(grad);
    }
}

/* Hands the gradients of a node's inputs on; takes the references over in every case. */
static rapt_status distribute(pass *p, rapt_node *node, rapt_tensor **grad_inputs)
{
    rapt_status status = RAPT_OK;
    for (uint32_t i = 0; i < node->n_edges; i++) {
        const rapt_edge edge = node->edges[i];
        rapt_tensor *grad = grad_inputs[i];
        if (!grad)
            continue;
        if (status != RAPT_OK || (!edge.port && !edge.leaf))
            rapt_tensor_release(grad);
        else
            status = edge.port ? give_port(p, edge.port, grad) : give_leaf(p, edge.leaf, grad);
    }
    return status;
}

static rapt_status visit(pass *p, rapt_node *node)
{
    if (node->freed)
        return rapt_fail(
            p->error, RAPT_INVALID,
            "backward: the graph behind %s was freed by an earlier backward; give that "
            "one retain_graph to go through it again",
            node->class->name(node));
    rapt_tensor *few[8] = {0};
    rapt_tensor **grad_inputs = few;
    if (node->n_edges > 8) {
        grad_inputs = calloc(node->n_edges, sizeof *grad_inputs);
        if (!grad_inputs)
            return rapt_fail_memory(p->error, node->n_edges * sizeof *grad_inputs, "backward");
    }
    rapt_status status =
        node->class->backward(p->context, node, node->grads, grad_inputs, p->error);
    clear_grads(node);
    if (status == RAPT_OK)
        status = distribute(p, node, grad_inputs);
    if (grad_inputs != few)
        free(grad_inputs);
    if (status == RAPT_OK && !p->retain_graph) {
        node->freed = true;
        if (node->class->drop)
            node->class->drop(node);
        drop_edges(node);
    }
    return status;
}

/* Leaves off the host get their sum as a new tensor before anything is changed, so that a failure
 * changes nothing; on the host the addition itself cannot fail and is done in place. */
static rapt_status prepare_leaves(pass *p)
{
    for (size_t i = 0; i < p->leaf_capacity; i++) {
        leaf_entry *entry = &p->leaves[i];
        if (!entry->leaf || !entry->grad)
            continue;
        if (!entry->leaf->grad) {
            rapt_tensor *own = entry->grad;
            const bool sole = atomic_load(&own->references) == 1 &&
                              atomic_load(&own->storage->references) == 1 &&
                              rapt_view_is_contiguous(&own->view);
            entry->grad = sole ? own : rapt_copy_contiguous(own, p->error);
            if (!sole)
                rapt_tensor_release(own);
        } else if (!rapt_on_host(entry->leaf->view.device)) {
            entry->grad = rapt_sum_gradients(p->context, entry->grad, entry->leaf->grad, p->error);
        }
        if (!entry->grad)
            return p->error && p->error->status ? p->error->status : RAPT_NO_MEMORY;
    }
    return RAPT_OK;
}

static void commit_leaves(pass *p)
{
    for (size_t i = 0; i < p->leaf_capacity; i++) {
        leaf_entry *entry = &p->leaves[i];
        if (!entry->leaf || !entry->grad)
            continue;
        rapt_tensor *grad = entry->leaf->grad;
        if (grad && rapt_on_host(grad->view.device)) {
            rapt_add_into(&grad->view, &entry->grad->view);
            rapt_tensor_written(grad);
        } else {
            entry->leaf->grad = entry->grad;
            entry->grad = grad;
        }
    }
}

static void end_pass(pass *p)
{
    while (p->n_heap > 0) {
        rapt_node *node = p->heap[--p->n_heap];
        node->queued = false;
        clear_grads(node);
        rapt_node_release(node);
    }
    free(p->heap);
    for (size_t i = 0; i < p->leaf_capacity; i++) {
        rapt_tensor_release(p->leaves[i].grad);
        rapt_tensor_release(p->leaves[i].leaf);
    }
    free(p->leaves);
}

/* The seed as a gradient: a new reference. */
static rapt_tensor *make_seed(rapt_tensor *output, rapt_tensor *seed, rapt_error *error)
{
    const rapt_view *view = &output->view;
    const rapt_dtype dtype = rapt_tensor_dtype(output);
    char shape[RAPT_SHAPE_TEXT], came[RAPT_SHAPE_TEXT];
    rapt_shape_text(shape, view->ndim, view->shape);
    if (!seed) {
        if (rapt_tensor_count(output) != 1) {
            rapt_fail(error, RAPT_INVALID,
                      "backward: the tensor is %s; without a seed it must have one element", shape);
            return NULL;
        }
        unsigned char one[8];
        rapt_element_set(one, dtype, 1.0);
        rapt_tensor *ones = rapt_tensor_make(dtype, view->device, view->ndim, view->shape, error);
        rapt_device_driver *driver = ones ? rapt_devices_find(view->device, error) : NULL;
        if (ones && (!driver || driver->write(driver, ones->view.data, ones->view.byte_offset, one,
                                              (int64_t)rapt_dtype_size(dtype), error) != RAPT_OK)) {
            rapt_tensor_release(ones);
            return NULL;
        }
        return ones;
    }
    const rapt_view *given = &seed->view;
    const bool same_shape = given->ndim == view->ndim &&
                            (view->ndim == 0 || memcmp(given->shape, view->shape,
                                                       (size_t)view->ndim * sizeof(int64_t)) == 0);
    if (!same_shape) {
        rapt_fail(error, RAPT_INVALID, "backward: the seed is %s; the tensor is %s",
                  rapt_shape_text(came, given->ndim, given->shape), shape);
        return NULL;
    }
    if (rapt_tensor_dtype(seed) != dtype || given->device.type != view->device.type ||
        given->device.index != view->device.index) {
        char there[32], here[32];
        rapt_device_name(given->device, there);
        rapt_device_name(view->device, here);
        rapt_fail(error, RAPT_INVALID, "backward: the seed is %s on %s; the tensor is %s on %s",
                  rapt_dtype_name(rapt_tensor_dtype(seed)), there, rapt_dtype_name(dtype), here);
        return NULL;
    }
    return rapt_alias(seed, error);
}

static rapt_status run_pass(pass *p, rapt_tensor *output, rapt_tensor *grad)
{
    rapt_status status =
        output->autograd ? give_port(p, output->autograd, grad) : give_leaf(p, output, grad);
    while (status == RAPT_OK && p->n_heap > 0) {
        rapt_node *node = heap_pop(p);
        status = visit(p, node);
        clear_grads(node);
        rapt_node_release(node);
    }
    if (status == RAPT_OK)
        status = prepare_leaves(p);
    if (status == RAPT_OK)
        commit_leaves(p);
    return status;
}

rapt_status rapt_backward(rapt_context *context, rapt_tensor *output, rapt_tensor *seed,
                          bool retain_graph, rapt_error *error)
{
    rapt_error local = {0};
    if (!error)
        error = &local;
    error->status = RAPT_OK;
    if (!rapt_tensor_tracked(output))
        return rapt_fail(error, RAPT_INVALID,
                         "backward: the tensor does not require a gradient: it was made from "
                         "tensors that do not, or with recording off");
    rapt_tensor *grad = make_seed(output, seed, error);
    if (!grad)
        return error->status;
    pass p = {.context = context, .retain_graph = retain_graph, .error = error};
    const bool was = rapt_set_recording(context, false);
    const rapt_status status = run_pass(&p, output, grad);
    rapt_set_recording(context, was);
    end_pass(&p);
    return status;
}
