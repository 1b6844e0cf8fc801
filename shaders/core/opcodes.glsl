// What the elementwise and reducing shaders compute: the first are core/ops' loops by the same name
// and number, which the host's code checks; then come those that only a device needs.
#ifndef RAPT_CORE_OPCODES_GLSL
#define RAPT_CORE_OPCODES_GLSL

#define OP_copy            0
#define OP_neg             1
#define OP_abs             2
#define OP_abs_grad        3
#define OP_exp             4
#define OP_exp_grad_y      5
#define OP_log             6
#define OP_log_grad        7
#define OP_sqrt            8
#define OP_sqrt_grad_y     9
#define OP_sin             10
#define OP_sin_grad        11
#define OP_cos             12
#define OP_cos_grad        13
#define OP_tanh            14
#define OP_tanh_grad_y     15
#define OP_sigmoid         16
#define OP_sigmoid_grad_y  17
#define OP_relu            18
#define OP_relu_grad_y     19
#define OP_silu            20
#define OP_silu_grad       21
#define OP_gelu            22
#define OP_gelu_grad       23
#define OP_gelu_tanh       24
#define OP_gelu_tanh_grad  25
#define OP_softplus        26
#define OP_softplus_grad   27
#define OP_scale_add       28
#define OP_scale           29
#define OP_power           30
#define OP_power_grad      31
#define OP_add             32
#define OP_sub             33
#define OP_mul             34
#define OP_div             35
#define OP_div_grad_b      36
#define OP_maximum         37
#define OP_maximum_grad_a  38
#define OP_maximum_grad_b  39
#define OP_minimum         40
#define OP_minimum_grad_a  41
#define OP_minimum_grad_b  42
#define OP_select          43
#define OP_select_grad_a   44
#define OP_select_grad_b   45
#define OP_masked_fill     46

#define OP_fill            47 /* A; reads nothing */
#define OP_ratio           48 /* x / y, 0 where y is 0 */
#define OP_counted         49 /* 1 where the label x is not the ignored one, otherwise 0 */
#define OP_norm_weight     50 /* x (y - z) w: gradient, row, its mean, its scale */
#define OP_rms_weight      51 /* x y z: gradient, row, its scale */
#define OP_twice           52 /* 2 x y */

#endif
